import type { Connection } from '../api/connection.ts';
import type { DataPlaneMessage } from '../dataplane/process-messages.ts';

type Check = (value: unknown) => boolean;

/** Whether a line of a data plane is a message, with all that is read of it. Entries of its memory are judged where they are kept. */
export function isDataPlaneMessage(value: unknown): value is DataPlaneMessage {
  if (!isRecord(value)) return false;
  const { kind } = value;
  return (
    typeof kind === 'string' && Object.hasOwn(SHAPES, kind) && hasShape(value, SHAPES[kind as keyof typeof SHAPES])
  );
}

function hasShape(value: unknown, shape: Readonly<Record<string, Check>>): boolean {
  return isRecord(value) && Object.entries(shape).every(([field, check]) => check(value[field]));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

const isText: Check = (value) => typeof value === 'string';
const isTextOrNull: Check = (value) => value === null || typeof value === 'string';
const isNumber: Check = (value) => typeof value === 'number';
const isFlag: Check = (value) => typeof value === 'boolean';
const isList: Check = (value) => Array.isArray(value);
const isListOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);

const CONNECTION: Readonly<Record<keyof Connection, Check>> = {
  connectionId: isText,
  endpoint: isText,
  targetNetwork: isText,
  status: (value) => value === 'active' || value === 'failed' || value === 'terminated',
  username: isText,
  commonName: isText,
  groups: isListOf(isText),
  clientIp: isTextOrNull,
  remote: isText,
  transport: (value) => value === 'udp' || value === 'tcp',
  cipher: isTextOrNull,
  ingressBytes: isNumber,
  egressBytes: isNumber,
  ingressPackets: isNumber,
  egressPackets: isNumber,
  establishedTime: isTextOrNull,
  endTime: isTextOrNull,
  endReason: isTextOrNull,
};

const SHAPES: Readonly<Record<DataPlaneMessage['kind'], Readonly<Record<string, Check>>>> = {
  ready: {},
  failed: { reason: isText },
  applied: { version: isNumber, digest: isText },
  rejected: { version: isNumber, digest: isText, reason: isText },
  connections: { requestId: isNumber, connections: isListOf((value) => hasShape(value, CONNECTION)) },
  terminated: { requestId: isNumber, found: isFlag },
  leases: { leases: isList },
  codesUsed: { sequence: isNumber, totpSteps: isList },
};
