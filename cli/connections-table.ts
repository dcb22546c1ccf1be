import type { Connection } from '../api/connection.ts';
import { textTable } from './text-table.ts';

const HEADER = [
  'CONNECTION',
  'STATUS',
  'USER',
  'COMMON NAME',
  'CLIENT IP',
  'REMOTE',
  'CIPHER',
  'IN',
  'OUT',
  'SINCE',
  'END',
];

/** Connections for people. */
export function connectionsTable(connections: readonly Connection[]): string {
  const rows = connections.map((one) => [
    one.connectionId,
    one.status,
    one.username || '-',
    one.commonName || '-',
    one.clientIp ?? '-',
    `${one.remote} ${one.transport}`,
    one.cipher ?? '-',
    byteText(one.ingressBytes),
    byteText(one.egressBytes),
    one.establishedTime ?? '-',
    one.endReason === null ? '-' : `${one.endTime ?? ''} ${one.endReason}`.trim(),
  ]);
  return textTable([HEADER, ...rows]);
}

/** Three digits and a unit: `0 B`, `1.4 kB`, `23 MB`. */
export function byteText(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  const power = Math.min(UNITS.length, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1_000 ** power;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${UNITS[power - 1]}`;
}

const UNITS = ['kB', 'MB', 'GB', 'TB', 'PB'];
