import type pg from 'pg';

interface RawConnection {
  query(text: string): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

/** COPY … FROM STDIN with node-postgres's own connection, as its copy helpers do it. */
export async function copyIn(client: pg.Client, text: string, data: string): Promise<void> {
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
