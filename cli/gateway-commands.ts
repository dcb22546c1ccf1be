import type { Command } from 'commander';
import type { CommandAnswer, CommandRequest } from '../standalone/command-protocol.ts';
import { InternalError } from '../net/errors.ts';
import { connectionsTable } from './connections-table.ts';
import { outputOption, stateDirOption } from './options.ts';
import { statusTable } from './status-table.ts';

interface Flags {
  readonly stateDir: string;
  readonly output: 'table' | 'json';
}

export function addStatusCommand(program: Command): void {
  program
    .command('status')
    .summary('show every object of the running gateway with its conditions')
    .description(
      'Shows every object of the running gateway with its conditions, the snapshot that is enforced, how many ' +
        'connections there are, and the last edit if it was refused. Exits 2 when no gateway runs on the folder.',
    )
    .addOption(stateDirOption())
    .addOption(outputOption(['table', 'json']))
    .addHelpText('after', '\nExample:\n  sudo clientvpn status --state-dir ./.state')
    .action(async ({ stateDir, output }: Flags) => {
      const { status } = await ask(stateDir, { command: 'status' }, 'status');
      process.stdout.write(output === 'json' ? `${JSON.stringify(status)}\n` : statusTable(status));
    });
}

export function addConnectionsCommand(program: Command): void {
  program
    .command('connections')
    .summary('list connections, and those that ended in the last hour')
    .description('Lists active connections, and for 60 minutes those that ended or failed.')
    .addOption(stateDirOption())
    .addOption(outputOption(['table', 'json']))
    .addHelpText(
      'after',
      `
--output json prints one array of objects with exactly these keys:
  connectionId, endpoint, targetNetwork
  status         active, failed or terminated
  username, commonName, groups
  clientIp       address in the tunnel; null for a failed attempt
  remote         ADDRESS:PORT, IPv6 addresses in brackets
  transport, cipher
  ingressBytes, egressBytes, ingressPackets, egressPackets  ingress: from the client
  establishedTime, endTime, endReason                       null while unknown

Example:
  sudo clientvpn connections --state-dir ./.state --output json`,
    )
    .action(async ({ stateDir, output }: Flags) => {
      const { connections } = await ask(stateDir, { command: 'connections' }, 'connections');
      process.stdout.write(output === 'json' ? `${JSON.stringify(connections)}\n` : connectionsTable(connections));
    });
}

export function addTerminateCommand(program: Command): void {
  program
    .command('terminate')
    .summary('end a connection')
    .description(
      'Ends an active connection; the client is told not to come back by itself. Exits 1 when there is none.',
    )
    .addOption(stateDirOption())
    .argument('<connection-id>', 'as `clientvpn connections` lists it')
    .addHelpText(
      'after',
      '\nExample:\n  sudo clientvpn terminate --state-dir ./.state cvpn-connection-0123456789abcdef0',
    )
    .action(async (connectionId: string, { stateDir }: Flags) => {
      const { found } = await ask(stateDir, { command: 'terminate', connectionId }, 'terminated');
      if (found) return;
      process.stderr.write(`There is no active connection ${connectionId}\n`);
      process.exitCode = 1;
    });
}

async function ask<K extends CommandAnswer['kind']>(
  stateDir: string,
  request: CommandRequest,
  kind: K,
): Promise<Extract<CommandAnswer, { kind: K }>> {
  const { askGateway } = await import('../standalone/command-client.ts');
  const answer: CommandAnswer = await askGateway(stateDir, request);
  if (answer.kind !== kind) throw new InternalError(`The gateway answered ${request.command} with ${answer.kind}`);
  // Narrowed by the line above, which the compiler can't follow through a type parameter.
  return answer as Extract<CommandAnswer, { kind: K }>;
}
