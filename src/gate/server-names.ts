/**
 * Names of prepared statements, portals and cursors. The server tells them apart by their first 63 bytes
 * (NAMEDATALEN - 1), and so must whoever keeps their plans.
 */
const maxNameBytes = 63;

export class ByServerName<T> extends Map<string, T> {
  override get(name: string): T | undefined {
    return super.get(serverName(name));
  }

  override has(name: string): boolean {
    return super.has(serverName(name));
  }

  override set(name: string, value: T): this {
    return super.set(serverName(name), value);
  }

  override delete(name: string): boolean {
    return super.delete(serverName(name));
  }
}

/** What is kept for each statement besides its text, about, in bytes. */
const besideText = 2 * 1024;

/** Prepared statements, and about how much memory they take. */
export class PreparedByName<T extends { readonly text: string }> extends ByServerName<T> {
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  override set(name: string, statement: T): this {
    this.delete(name);
    this.#bytes += besideText + statement.text.length;
    return super.set(name, statement);
  }

  override delete(name: string): boolean {
    const known = this.get(name);
    if (known !== undefined) this.#bytes -= besideText + known.text.length;
    return super.delete(name);
  }

  override clear(): void {
    this.#bytes = 0;
    super.clear();
  }
}

function serverName(name: string): string {
  // At most three bytes for each unit of a string.
  if (name.length * 3 < maxNameBytes) return name;
  const bytes = Buffer.from(name, 'utf8');
  // One that fills the space to the last byte may be what is left of a longer one.
  return bytes.length < maxNameBytes ? name : bytes.toString('latin1', 0, maxNameBytes);
}
