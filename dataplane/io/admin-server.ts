import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { TerminalError } from '../../net/errors.ts';

export interface AdminServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** The exposition text and its content type. */
  readonly metrics: () => Promise<{ readonly text: string; readonly contentType: string }>;
  /** Null when clients can connect, else why not. */
  readonly notReady: () => string | null;
}

export interface AdminServer {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Serves `/metrics`, `/healthz` (the process answers) and `/readyz` (clients can connect) over plain HTTP.
 * Connections, header size and times are bounded; bodies are not read.
 *
 * @throws TerminalError when the address can't be bound.
 */
export async function startAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const server = createServer({
    maxHeaderSize: 8_192,
    headersTimeout: 5_000,
    requestTimeout: 5_000,
    keepAliveTimeout: 5_000,
    connectionsCheckingInterval: 1_000,
  });
  server.maxConnections = 32;
  server.maxRequestsPerSocket = 100;
  server.setTimeout(15_000);
  server.on('request', (request, response) => {
    answer(options, request, response).catch(() => {
      if (response.headersSent) response.destroy();
      else send(response, 500, 'The metrics could not be collected\n');
    });
  });
  server.listen(options.port, options.host);
  try {
    await once(server, 'listening');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TerminalError(`Can't listen for metrics on ${options.host}:${options.port}: ${why}`, { cause });
  }
  // A TCP listener's address is never a string or null.
  const { port } = server.address() as AddressInfo;
  return { port, close: () => close(server) };
}

async function answer(options: AdminServerOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    return send(response, 405, 'Only GET and HEAD\n');
  }
  const [path] = (request.url ?? '/').split('?', 1);
  switch (path) {
    case '/metrics': {
      const { text, contentType } = await options.metrics();
      return send(response, 200, text, contentType);
    }
    case '/healthz':
      return send(response, 200, 'ok\n');
    case '/readyz': {
      const reason = options.notReady();
      return reason === null ? send(response, 200, 'ok\n') : send(response, 503, `${reason}\n`);
    }
    default:
      return send(response, 404, 'Not found\n');
  }
}

function send(response: ServerResponse, status: number, text: string, contentType = 'text/plain; charset=utf-8'): void {
  const body = Buffer.from(text);
  response.writeHead(status, {
    'Content-Type': contentType,
    'Content-Length': body.length,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  });
  response.end(body);
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}
