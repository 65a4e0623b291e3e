import { Agent, request } from 'node:http';

/** Clients that ask again as soon as they were answered, over connections that stay. */
export interface LoopOrder {
  url: string;
  key: string;
  /** `X-Darkbloom-Route`. */
  route: string;
  model: string;
  clients: number;
  requests: number;
}

export interface LoopResult {
  /** From the first byte sent to the first text received, each request. */
  firstTokenMs: number[];
  failed: number;
  /** How the first one failed. */
  reason?: string;
  wallMs: number;
  /** Of the process that plays the clients. */
  cpuSeconds: number;
}

const CONTENT = '"content":"Hello"';

/** The short request of every contender. */
function bodyOf(model: string): string {
  return JSON.stringify({
    model,
    messages: [{ role: 'user', content: 'Say hello, please.' }],
    max_tokens: 16,
    stream: true,
  });
}

export async function closedLoop(order: LoopOrder): Promise<LoopResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: order.clients });
  const body = bodyOf(order.model);
  const result: LoopResult = { firstTokenMs: [], failed: 0, wallMs: 0, cpuSeconds: 0 };
  let left = order.requests;
  const client = async () => {
    while (left-- > 0) {
      try {
        result.firstTokenMs.push(await ask(order, agent, body));
      } catch (error) {
        result.failed++;
        result.reason ??= error instanceof Error ? error.message : String(error);
      }
    }
  };
  const cpu = process.cpuUsage();
  const begun = performance.now();
  await Promise.all(Array.from({ length: order.clients }, client));
  result.wallMs = performance.now() - begun;
  const used = process.cpuUsage(cpu);
  result.cpuSeconds = (used.user + used.system) / 1e6;
  agent.destroy();
  return result;
}

/** Resolves at the end of the answer with the time to its first text. */
function ask({ url, key, route }: LoopOrder, agent: Agent, body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      'x-darkbloom-route': route,
    };
    const sentAt = performance.now();
    const sent = request(`${url}/v1/chat/completions`, { method: 'POST', agent, headers }, (response) => {
      let text = '';
      let firstMs: number | undefined;
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
        if (firstMs === undefined && text.includes(CONTENT)) firstMs = performance.now() - sentAt;
      });
      response.on('error', reject);
      response.on('end', () => {
        if (firstMs !== undefined && text.endsWith('data: [DONE]\n\n')) resolve(firstMs);
        else reject(new Error(`status ${response.statusCode}: ${text.slice(0, 200)}`));
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
