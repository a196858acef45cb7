/** bytea in text (PostgreSQL documentation, 8.4), under either setting of bytea_output, piece by piece. */

const backslash = 0x5c;
const nothing = Buffer.alloc(0);

export class ByteaText {
  #form: 'hex' | 'escape' | undefined;
  /** What cannot be read without the piece that follows it. */
  #rest: Buffer = nothing;
  #isBroken = false;

  /** @returns the bytes that are known now; nothing once it cannot be read */
  write(piece: Buffer): Buffer {
    let text = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    this.#rest = nothing;
    if (this.#form === undefined) {
      if (text.length === 0 || (text.length === 1 && text[0] === backslash)) return this.#keep(text);
      this.#form = text[0] === backslash && text[1] === 0x78 ? 'hex' : 'escape';
      if (this.#form === 'hex') text = text.subarray(2);
    }
    if (this.#isBroken) return nothing;
    return this.#form === 'hex' ? this.#hex(text) : this.#escape(text);
  }

  /** Whether all that was written is one bytea. */
  end(): boolean {
    return !this.#isBroken && this.#rest.length === 0;
  }

  #keep(rest: Buffer): Buffer {
    this.#rest = Buffer.from(rest);
    return nothing;
  }

  #hex(text: Buffer): Buffer {
    const whole = text.length - (text.length % 2);
    this.#keep(text.subarray(whole));
    const value = Buffer.from(text.toString('latin1', 0, whole), 'hex');
    // The decoder stops without an error at what is no hexadecimal digit.
    this.#isBroken = 2 * value.length !== whole;
    return value;
  }

  #escape(text: Buffer): Buffer {
    const value = Buffer.alloc(text.length);
    let length = 0;
    for (let at = 0; at < text.length; at++) {
      let byte = text.readUInt8(at);
      if (byte === backslash) {
        const isLast = at + 1 === text.length;
        if (!isLast && text[at + 1] === backslash) at++;
        else if (isLast || at + 3 >= text.length) {
          this.#keep(text.subarray(at));
          break;
        } else {
          const octal = text.toString('latin1', at + 1, at + 4);
          if (!/^[0-3][0-7]{2}$/.test(octal)) {
            this.#isBroken = true;
            break;
          }
          byte = Number.parseInt(octal, 8);
          at += 3;
        }
      }
      value[length++] = byte;
    }
    return value.subarray(0, length);
  }
}
