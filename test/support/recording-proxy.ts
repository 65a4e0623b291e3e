import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { portOf } from './port-of.js';

/** Stands between those who dial it and a port of this machine, and keeps every byte of both directions. */
export class RecordingProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #dialled: Buffer[][] = [];
  readonly #answered: Buffer[][] = [];

  private constructor(targetPort: number) {
    this.#server = createServer((inbound) => {
      const outbound = connect(targetPort, '127.0.0.1');
      this.#carry(inbound, outbound, this.#dialled);
      this.#carry(outbound, inbound, this.#answered);
    });
  }

  static async listen(targetPort: number): Promise<RecordingProxy> {
    const proxy = new RecordingProxy(targetPort);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${portOf(this.#server)}`;
  }

  /** The texts of all WebSocket frames of the side that dialled. */
  get dialledFrames(): string[] {
    return this.#dialled.flatMap((chunks) => framesIn(Buffer.concat(chunks)));
  }

  /** The texts of all WebSocket frames of the side that was dialled. */
  get answeredFrames(): string[] {
    return this.#answered.flatMap((chunks) => framesIn(Buffer.concat(chunks)));
  }

  #carry(from: Socket, to: Socket, recording: Buffer[][]): void {
    const chunks: Buffer[] = [];
    recording.push(chunks);
    this.#sockets.add(from);
    from.on('data', (data) => {
      chunks.push(data);
      to.write(data);
    });
    from.on('end', () => to.end());
    from.on('error', () => to.destroy());
    from.on('close', () => this.#sockets.delete(from));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

const TEXT = 1;

/** Reads RFC 6455 frames after the header of the upgrade. Those of a client are masked. */
function framesIn(bytes: Buffer): string[] {
  const texts: string[] = [];
  let at = bytes.indexOf('\r\n\r\n') + 4;
  while (at + 2 <= bytes.length) {
    const opcode = bytes.readUInt8(at) & 0x0f;
    const masked = (bytes.readUInt8(at + 1) & 0x80) !== 0;
    let length = bytes.readUInt8(at + 1) & 0x7f;
    at += 2;
    if (length === 126) {
      length = bytes.readUInt16BE(at);
      at += 2;
    } else if (length === 127) {
      length = Number(bytes.readBigUInt64BE(at));
      at += 8;
    }
    const mask = masked ? bytes.subarray(at, at + 4) : Buffer.alloc(4);
    at += masked ? 4 : 0;
    const payload = bytes.subarray(at, at + length).map((byte, index) => byte ^ mask.readUInt8(index % 4));
    if (opcode === TEXT) texts.push(Buffer.from(payload).toString('utf8'));
    at += length;
  }
  return texts;
}
