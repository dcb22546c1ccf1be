// Runs inside a namespace and makes or serves traffic for a test: JSON lines in, JSON lines out.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, get, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import type { AgentRequest, FetchResult, FlowState } from './agent-protocol.ts';
import { ServicePort } from './agent-protocol.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const flows: { readonly state: Mutable<FlowState>; readonly stop: () => void }[] = [];
const sunk = new Map<string, number>();
const SOURCE_PACKETS = 6000;
const TICK_MS = 10;

for await (const line of createInterface({ input: process.stdin })) {
  const { id, request } = JSON.parse(line) as { id: number; request: AgentRequest };
  void answer(request).then(
    (result) => process.stdout.write(`${JSON.stringify({ id, result })}\n`),
    (error: unknown) => process.stdout.write(`${JSON.stringify({ id, error: String(error) })}\n`),
  );
}
process.exit(0);

async function answer(request: AgentRequest): Promise<unknown> {
  switch (request.kind) {
    case 'fetch':
      return fetchOnce(request.host, request.port, request.timeoutMs);
    case 'download':
      return startDownload(request.host, request.port, request.bytesPerSecond);
    case 'sendStream':
      return startSending(request.host, request.port, request.perSecond);
    case 'receiveStream':
      return startReceiving(request.host, request.port);
    case 'echo':
      return echoOnce(request.host, request.port, request.bytes, request.timeoutMs);
    case 'flow':
      return flows[request.flow]?.state;
    case 'stopFlow':
      flows[request.flow]?.stop();
      return null;
    case 'serve':
      return serve(request.addresses);
    case 'sunk':
      return Object.fromEntries(sunk);
  }
}

function fetchOnce(host: string, port: number, timeoutMs: number): Promise<FetchResult> {
  const started = performance.now();
  const seconds = (): number => (performance.now() - started) / 1000;
  return new Promise((resolve) => {
    const request = get({ host, port, path: '/', agent: false }, (response) => {
      response.setEncoding('utf8');
      let body = '';
      response.on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ seenAs: body, error: null, seconds: seconds() }));
    });
    // The request's own timeout starts only once it is connected.
    const timer = setTimeout(() => {
      resolve({ seenAs: null, error: 'TIMEOUT', seconds: seconds() });
      request.destroy();
    }, timeoutMs);
    request.on('close', () => clearTimeout(timer));
    request.on('error', (error: NodeJS.ErrnoException) =>
      resolve({ seenAs: null, error: error.code ?? error.message, seconds: seconds() }),
    );
  });
}

function startDownload(host: string, port: number, bytesPerSecond: number): Promise<number> {
  const state: Mutable<FlowState> = { bytes: 0, packets: 0, highestNumber: 0, ended: false };
  return new Promise((resolve, reject) => {
    const request = get(
      { host, port, path: `/endless/${bytesPerSecond}`, agent: false },
      (response: IncomingMessage) => {
        response.on('data', (chunk: Buffer) => (state.bytes += chunk.length));
        response.on('close', () => (state.ended = true));
        flows.push({ state, stop: () => request.destroy() });
        resolve(flows.length - 1);
      },
    );
    request.on('error', (error) => {
      state.ended = true;
      reject(error);
    });
  });
}

async function startSending(host: string, port: number, perSecond: number): Promise<number> {
  const socket = await udpSocket();
  const state: Mutable<FlowState> = { bytes: 0, packets: 0, highestNumber: 0, ended: false };
  const timer = setInterval(() => {
    const packet = Buffer.alloc(200);
    packet.writeUInt32BE(++state.highestNumber);
    socket.send(packet, port, host, (error) => {
      if (error === null) state.packets += 1;
    });
  }, 1000 / perSecond);
  flows.push({ state, stop: () => (clearInterval(timer), socket.close()) });
  return flows.length - 1;
}

async function startReceiving(host: string, port: number): Promise<number> {
  const socket = await udpSocket();
  const state: Mutable<FlowState> = { bytes: 0, packets: 0, highestNumber: 0, ended: false };
  socket.on('message', (message) => {
    state.packets += 1;
    state.bytes += message.length;
    state.highestNumber = Math.max(state.highestNumber, message.readUInt32BE(0));
  });
  socket.send('start', port, host);
  flows.push({ state, stop: () => socket.close() });
  return flows.length - 1;
}

async function echoOnce(host: string, port: number, bytes: number, timeoutMs: number): Promise<boolean> {
  const socket = await udpSocket();
  const sent = Buffer.alloc(bytes, 'echo');
  try {
    return await new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), timeoutMs);
      socket.on('message', (message) => {
        clearTimeout(timer);
        resolve(message.equals(sent));
      });
      socket.send(sent, port, host);
    });
  } finally {
    socket.close();
  }
}

async function udpSocket(port = 0, address = '0.0.0.0'): Promise<UdpSocket> {
  const socket = createSocket('udp4');
  // ICMP refusals come back as errors of the socket; the counts tell the test what arrived.
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.bind(port, address, resolve));
  return socket;
}

async function serve(addresses: readonly string[]): Promise<null> {
  const server = createServer((request, response) => {
    const speed = /^\/endless\/(\d+)$/.exec(request.url ?? '')?.[1];
    if (speed === undefined) {
      response.end(request.socket.remoteAddress ?? '');
      return;
    }
    const chunk = Buffer.alloc(Math.ceil((Number(speed) * TICK_MS) / 1000), 'x');
    const timer = setInterval(() => response.writableLength < 1_000_000 && response.write(chunk), TICK_MS);
    response.on('close', () => clearInterval(timer));
    response.on('error', () => clearInterval(timer));
  });
  await new Promise<void>((resolve) => server.listen(ServicePort.http, '0.0.0.0', resolve));
  // UDP answers have to leave from the address that was asked, so each address has its own sockets.
  await Promise.all(addresses.map(serveUdp));
  return null;
}

async function serveUdp(address: string): Promise<void> {
  const echo = await udpSocket(ServicePort.echo, address);
  echo.on('message', (message, from) => echo.send(message, from.port, from.address));
  const sink = await udpSocket(ServicePort.sink, address);
  sink.on('message', (_message, from) => sunk.set(from.address, (sunk.get(from.address) ?? 0) + 1));
  const source = await udpSocket(ServicePort.source, address);
  source.on('message', (_message, from) => {
    let number = 0;
    const timer = setInterval(() => {
      const packet = Buffer.alloc(200);
      packet.writeUInt32BE(++number);
      source.send(packet, from.port, from.address);
      if (number >= SOURCE_PACKETS) clearInterval(timer);
    }, 10);
  });
}
