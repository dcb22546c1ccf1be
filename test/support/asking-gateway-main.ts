// A gateway whose logins wait for their users: the real engine, TLS, tunnel threads and driver, and a provider that asks.
// Its certificate comes as one JSON line on standard input; a second line lets in whoever waits for a page. `ready` on
// standard output. Runs in a namespace of its own.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { AuthenticationRequest, AuthenticationVerdict } from '../../api/authentication.ts';
import type { Authenticator, LoginDialogue } from '../../dataplane/auth/authenticator.ts';
import { ControlSocket, udpRemote } from '../../dataplane/io/control-socket.ts';
import { Driver } from '../../dataplane/io/driver.ts';
import { loadAddon } from '../../dataplane/io/load-addon.ts';
import { TlsEndpoint } from '../../dataplane/io/tls-endpoint.ts';
import { TunnelHost } from '../../dataplane/io/tunnel-host.ts';
import { gatewayAddressOf } from '../../dataplane/sessions/address-pool.ts';
import { Engine } from '../../dataplane/sessions/engine.ts';
import { dataPlaneConfig } from './data-plane-configs.ts';
import { prefix } from './prefixes.ts';
import { TIMERS } from './simulated-world.ts';

export const LOGIN_PAGE = 'https://login.example/l/1';
export const QUESTION = 'Which colour?';
export const STATE_ID = 'state-1';
export const RIGHT_ANSWER = 'blue';

const CLIENT_CIDR = prefix('10.100.0.0/22');
const TUN = 'cvt-asking';
const WAIT_MS = 60_000;

if (import.meta.main) await serve();

async function serve(): Promise<void> {
  const lines = createInterface({ input: process.stdin });
  const [first] = (await once(lines, 'line')) as [string];
  const { certificatePem, keyPem } = JSON.parse(first) as { certificatePem: string; keyPem: string };
  const pageDone = once(lines, 'line');
  const addon = loadAddon();
  const tun = addon.tunOpen({ name: TUN, multiQueue: true });
  execFileSync('ip', ['link', 'set', TUN, 'up']);
  const buffers = { receiveBufferBytes: 0, sendBufferBytes: 0 };
  const [data, control] = [1, 2].map(() => addon.udpOpen({ address: '::', port: 1194, gro: true, ...buffers }).fd);
  addon.udpSteer(data, 1);
  const tunnel = await TunnelHost.start({
    addon,
    transport: 'udp',
    udpDescriptors: [data],
    tcpDescriptors: [],
    tunDescriptors: [tun.fd],
    tunMtu: 1500,
    clientCidr: CLIENT_CIDR,
    gatewayAddress: gatewayAddressOf(CLIENT_CIDR),
  });
  const driver: Driver = new Driver({
    addon,
    tunnel,
    engine: new Engine({
      config: dataPlaneConfig(),
      timers: TIMERS,
      threads: 1,
      slots: tunnel.slots,
      random: (bytes) => new Uint8Array(randomBytes(bytes)),
      wallClock: Date.now,
      memory: { leases: [], totpSteps: [] },
      remoteFrom: (wire) => udpRemote(addon, wire),
      traffic: (peerId) => tunnel.traffic(peerId),
    }),
    tls: new TlsEndpoint({
      addon,
      credentials: { certificatePem, keyPem, clientCaPem: null },
      deliver: (input) => driver.feed(input),
    }),
    authenticator: askingProvider(pageDone),
    control: new ControlSocket({ addon, fd: control, onDatagram: (remote, bytes) => driver.onDatagram(remote, bytes) }),
    onEvent: () => undefined,
    onLogin: () => undefined,
    onFault: (error) => process.stderr.write(`${String(error)}\n`),
  });
  process.stdout.write('ready\n');
}

/** What becomes of a login says its user name. */
function askingProvider(pageDone: Promise<unknown>): Authenticator {
  return {
    reconfigure: () => undefined,
    async authenticate(request, dialogue) {
      switch (request.username) {
        case 'page':
          dialogue.wait(WAIT_MS, { kind: 'web', url: LOGIN_PAGE });
          await pageDone;
          return verdictOn(request, true);
        case 'question':
          return verdictOn(request, await answersRightly(dialogue));
        default:
          if (!request.password.startsWith('CRV1::'))
            return { kind: 'challenged', challenge: { stateId: STATE_ID, text: QUESTION, answer: 'shown' } };
          return verdictOn(request, request.password === `CRV1::${STATE_ID}::${RIGHT_ANSWER}`);
      }
    },
  };
}

async function answersRightly(dialogue: LoginDialogue): Promise<boolean> {
  return (await dialogue.ask(WAIT_MS, { kind: 'text', text: QUESTION, echo: true })) === RIGHT_ANSWER;
}

function verdictOn({ username }: AuthenticationRequest, isRight: boolean): AuthenticationVerdict {
  if (!isRight)
    return { kind: 'denied', reason: 'bad-password', message: 'wrong', certificateRefused: false, isTemporary: false };
  const nobodyElse = { commonName: '', certificateFingerprints: [], certificateSerial: null, groups: [] };
  return { kind: 'granted', identity: { username, ...nobodyElse }, authToken: null };
}
