/** An HTTP server that keeps what is posted to it, and answers as it is told. */
import http from 'node:http';
import type { AddressInfo } from 'node:net';

export interface SunkPost {
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

export interface HttpSink {
  readonly url: string;
  readonly posts: SunkPost[];
  /** Status of the next answers; 'hang' never answers. */
  answer: number | 'hang';
  close(): Promise<void>;
}

export async function startHttpSink(): Promise<HttpSink> {
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', (piece: Buffer) => (body += piece.toString('utf8')));
    request.on('end', () => {
      sink.posts.push({ path: request.url ?? '', headers: request.headers, body });
      if (sink.answer === 'hang') return;
      response.writeHead(sink.answer, sink.answer === 302 ? { location: '/elsewhere' } : {}).end('thank you');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const sink: HttpSink = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    posts: [],
    answer: 200,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return sink;
}
