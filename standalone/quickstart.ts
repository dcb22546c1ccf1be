// `make run`: serves examples/quickstart with keys of its own making, which it keeps in .state of the folder it is started
// in, and says how to connect.
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';

const root = join(import.meta.dirname, '..');
const manifests = relative(process.cwd(), join(root, 'examples', 'quickstart'));
const program = relative(process.cwd(), join(root, 'bin', 'clientvpn'));
const stateDir = '.state';

const obstacle = whatIsMissing();
if (obstacle !== undefined) {
  process.stderr.write(`${obstacle}\n`);
  process.exit(1);
}

const gateway = spawn(
  join(root, 'bin', 'clientvpn'),
  ['standalone', '--manifests', manifests, '--state-dir', stateDir, '--auto-pki'],
  { stdio: ['ignore', 'pipe', 'inherit'] },
);
// Ctrl-C reaches the gateway too; this process stays until it has said goodbye to its clients.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => gateway.kill('SIGTERM'));
gateway.on('exit', (code) => process.exit(code ?? 1));

createInterface({ input: gateway.stdout }).on('line', (line) => {
  process.stdout.write(`${line}\n`);
  const ready = readyLine(line);
  if (ready !== undefined) process.stderr.write(instructions(ready));
});

interface Ready {
  readonly endpoint: string;
  readonly transport: string;
  readonly port: number;
}

function readyLine(line: string): Ready | undefined {
  return line.includes('"msg":"Ready"') ? (JSON.parse(line) as Ready) : undefined;
}

function instructions({ endpoint, transport, port }: Ready): string {
  const address = ownAddress() ?? 'ADDRESS-OF-THIS-MACHINE';
  return `
The gateway serves ${endpoint} on ${transport} port ${port}. In another terminal, in this folder:

  1. Make a file for one person's laptop:
       sudo ${program} client-config --state-dir ${stateDir} --endpoint ${endpoint} --client laptop --remote ${address} --output laptop.ovpn
  2. Copy laptop.ovpn there and connect:
       sudo openvpn --config laptop.ovpn
  3. See who is connected, and what the gateway thinks of its manifests:
       sudo ${program} connections --state-dir ${stateDir}
       sudo ${program} status --state-dir ${stateDir}
  4. Edit a rule in ${manifests}/. It holds within a second; nobody is disconnected.

Ctrl-C ends the gateway and undoes what it changed on this machine.

`;
}

function whatIsMissing(): string | undefined {
  if (process.getuid?.() !== 0) {
    return 'The gateway needs root to make a TUN device, addresses and nft rules; its data plane then runs without.\nTry: sudo make run';
  }
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    return [
      'There is no TUN device here (/dev/net/tun).',
      'On a machine of your own: modprobe tun',
      'In a container: start it with --device /dev/net/tun --cap-add NET_ADMIN',
    ].join('\n');
  }
}

function ownAddress(): string | undefined {
  const addresses = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  return addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
}
