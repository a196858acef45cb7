import type pg from 'pg';

interface RawConnection {
  query(text: string): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

/** COPY … FROM STDIN with node-postgres's own connection, as its copy helpers do it. */
export async function copyIn(client: pg.Client, text: string, data: string | Buffer): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const submittable = {
      submit(connection: RawConnection) {
        connection.query(text);
      },
      handleCopyInResponse(connection: RawConnection) {
        connection.sendCopyFromChunk(Buffer.from(data));
        connection.endCopyFrom();
      },
      handleCommandComplete() {},
      handleReadyForQuery() {
        resolve();
      },
      handleError(error: Error) {
        reject(error);
      },
    };
    client.query(submittable as unknown as pg.Submittable);
  });
}

interface CopyChunk {
  readonly chunk: Buffer;
}

/** COPY … TO STDOUT in the simple protocol: the data, as it came. */
export async function copyOut(client: pg.Client, text: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const submittable = {
      submit(connection: RawConnection) {
        connection.query(text);
      },
      handleCopyData({ chunk }: CopyChunk) {
        chunks.push(Buffer.from(chunk));
      },
      handleCommandComplete() {},
      handleRowDescription() {},
      handleDataRow() {},
      handleReadyForQuery() {
        resolve(Buffer.concat(chunks));
      },
      handleError(error: Error) {
        reject(error);
      },
    };
    client.query(submittable as unknown as pg.Submittable);
  });
}
