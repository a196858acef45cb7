/** The least of an SMTP server (RFC 5321, STARTTLS of RFC 3207) that takes every message and keeps it, for tests. */
import net from 'node:net';
import tls from 'node:tls';

export interface SunkMail {
  readonly from: string;
  readonly to: string;
  /** Headers and body as they came. */
  readonly data: string;
  readonly overTls: boolean;
}

export interface SmtpSink {
  readonly port: number;
  readonly mails: SunkMail[];
  close(): Promise<void>;
}

/** `offersTls` false: STARTTLS is not offered. */
export async function startSmtpSink(options: {
  readonly tls?: { readonly cert: string; readonly key: string };
}): Promise<SmtpSink> {
  const mails: SunkMail[] = [];
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    socket.write('220 sink\r\n');
    converse(socket, options.tls, false, mails);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    mails,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function converse(
  socket: net.Socket,
  certificate: { readonly cert: string; readonly key: string } | undefined,
  overTls: boolean,
  mails: SunkMail[],
): void {
  let rest = '';
  let mail = { from: '', to: '' };
  let data: string | undefined;
  const take = (piece: Buffer) => {
    rest += piece.toString('utf8');
    for (let end = rest.indexOf('\r\n'); end >= 0; end = rest.indexOf('\r\n')) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 2);
      if (data !== undefined) {
        if (line !== '.') data += `${line}\n`;
        else {
          mails.push({ ...mail, data, overTls });
          data = undefined;
          socket.write('250 taken\r\n');
        }
        continue;
      }
      const [, verb = ''] = /^(\w+)/.exec(line.toUpperCase()) ?? [];
      if (verb === 'EHLO')
        socket.write(certificate === undefined || overTls ? '250 sink\r\n' : '250-sink\r\n250 STARTTLS\r\n');
      else if (verb === 'STARTTLS' && certificate !== undefined) {
        socket.write('220 go ahead\r\n');
        socket.off('data', take);
        const secure = new tls.TLSSocket(socket, { isServer: true, ...certificate });
        secure.on('error', () => undefined);
        return converse(secure, certificate, true, mails);
      } else if (verb === 'MAIL') {
        mail = { from: line.slice(10), to: '' };
        socket.write('250 ok\r\n');
      } else if (verb === 'RCPT') {
        mail = { ...mail, to: line.slice(8).replace(/^<|>$/g, '') };
        socket.write('250 ok\r\n');
      } else if (verb === 'DATA') {
        data = '';
        socket.write('354 go on\r\n');
      } else if (verb === 'QUIT') socket.end('221 bye\r\n');
      else socket.write('502 no\r\n');
    }
  };
  socket.on('data', take);
}
