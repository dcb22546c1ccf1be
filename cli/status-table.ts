import type { GatewayStatus } from '../standalone/gateway-status.ts';
import { printable, textTable } from './text-table.ts';

/** The status for people. */
export function statusTable(status: GatewayStatus): string {
  const { endpoint, namespace, targetNetwork, transport, port, state, snapshot, connections, refused, warnings } =
    status;
  const enforced = snapshot === null ? 'none' : `version ${snapshot.version} (${snapshot.digest})`;
  const facts = [
    ['Endpoint:', `${namespace}/${endpoint}`],
    ['Target network:', targetNetwork],
    ['Listens on:', `${transport} ${port}`],
    ['State:', state],
    ['Snapshot:', enforced],
    ['Connections:', `${connections.active ?? 'unknown'} of at most ${connections.capacity}`],
  ];
  const rows = status.objects.flatMap(({ kind, name, conditions }) =>
    conditions.map((one, index) => [
      index === 0 ? `${kind}/${name}` : '',
      one.type,
      one.status,
      one.reason,
      one.message,
    ]),
  );
  const sections = [textTable(facts), textTable([['OBJECT', 'CONDITION', 'STATUS', 'REASON', 'MESSAGE'], ...rows])];
  if (warnings.length > 0) sections.push(lines('Warnings:', warnings));
  if (refused !== null)
    sections.push(lines(`Edit refused at ${refused.time}; the state above holds. Findings:`, refused.findings));
  return sections.join('\n');
}

function lines(title: string, items: readonly string[]): string {
  return `${title}\n${items.map((item) => `  ${printable(item)}\n`).join('')}`;
}
