import type { Connection } from '../api/connection.ts';
import type { GatewayStatus } from './gateway-status.ts';

/** One JSON line each way over `command.sock` in the state folder, then the connection ends. */
export type CommandRequest =
  | { readonly command: 'status' }
  | { readonly command: 'connections' }
  | { readonly command: 'terminate'; readonly connectionId: string };

export type CommandAnswer =
  | { readonly kind: 'status'; readonly status: GatewayStatus }
  | { readonly kind: 'connections'; readonly connections: readonly Connection[] }
  | { readonly kind: 'terminated'; readonly found: boolean }
  | { readonly kind: 'error'; readonly message: string };

export const COMMAND_SOCKET = 'command.sock';
export const MAX_REQUEST_BYTES = 4096;
export const MAX_ANSWER_BYTES = 256 * 1024 * 1024;

export function isCommandRequest(value: unknown): value is CommandRequest {
  if (typeof value !== 'object' || value === null || !('command' in value)) return false;
  if (value.command === 'status' || value.command === 'connections') return true;
  return value.command === 'terminate' && 'connectionId' in value && typeof value.connectionId === 'string';
}
