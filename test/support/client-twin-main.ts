// Connects a ClientMachine to a real server, pings through the tunnel, renews the key, pings again, leaves. The plan is
// one JSON object on standard input, the findings one JSON line on standard output. Runs inside the server's namespace.
import { text } from 'node:stream/consumers';
import { ClientDriver } from './client-driver.ts';
import type { ClientConfig, ClientOutput } from './client-io.ts';
import { parseStaticKey } from '../../dataplane/protocol/static-key.ts';
import { parseClientKeyPem } from '../../dataplane/protocol/tls-crypt-v2.ts';
import { echoRequest } from './echo-request.ts';
import { waitFor, WaitError } from './wait.ts';

export interface TwinPlan {
  readonly port: number;
  readonly transport: 'udp' | 'tcp';
  readonly wrap: 'none' | 'tls-auth' | 'tls-crypt' | 'tls-crypt-v2';
  /** Text of the static key file or of the client key PEM. */
  readonly wrapKey: string;
  readonly protocolBits: number;
  readonly maxTlsVersion: 'TLSv1.2' | 'TLSv1.3';
  readonly renewal: 'by-client' | 'by-server';
  readonly ca: string;
  /** PEM; null shows none. */
  readonly identity: { readonly certificate: string; readonly key: string } | null;
  readonly credentials?: Pick<ClientConfig, 'framing' | 'username' | 'password'>;
  /** Tunnel address of the server. */
  readonly pingAddress: string;
}

export interface TwinFindings {
  readonly options: readonly string[];
  readonly answeredBefore: boolean;
  readonly answeredAfter: boolean;
  readonly keyIds: readonly number[];
  readonly sendingKeyId: number | null;
  readonly closed: string | null;
}

if (import.meta.main) {
  const plan = JSON.parse(await text(process.stdin)) as TwinPlan;
  process.stdout.write(`${JSON.stringify(await carryOut(plan))}\n`, () => process.exit(0));
}

async function carryOut(plan: TwinPlan): Promise<TwinFindings> {
  const outputs: ClientOutput[] = [];
  const all = <K extends ClientOutput['kind']>(kind: K) =>
    outputs.filter((output): output is Extract<ClientOutput, { kind: K }> => output.kind === kind);
  const driver = new ClientDriver({
    host: '127.0.0.1',
    port: plan.port,
    tls: {
      ca: plan.ca,
      maxVersion: plan.maxTlsVersion,
      ...(plan.identity === null ? {} : { cert: plan.identity.certificate, key: plan.identity.key }),
    },
    config: {
      transport: plan.transport,
      wrap: wrapOf(plan),
      protocolBits: plan.protocolBits,
      keySwitchMs: 1000,
      retransmitMs: 500,
      pushRequestMs: 100,
      ...plan.credentials,
    },
    onOutput: (output) => outputs.push(output),
  });
  const pings = async (): Promise<boolean> => {
    const source = all('connected')[0]?.settings.tunnelAddress;
    if (source === undefined || source === null) return false;
    const answers = all('inner').length;
    driver.handle({ kind: 'inner', bytes: echoRequest(source, plan.pingAddress) });
    return isReached(() => all('inner').length > answers);
  };

  driver.start();
  await isReached(() => driver.machine.isConnected || all('closed').length > 0);
  const answeredBefore = await pings();
  if (plan.renewal === 'by-client') driver.handle({ kind: 'renew' });
  await isReached(() => driver.machine.sendingKeyId === 1 || all('closed').length > 0);
  const answeredAfter = await pings();
  const sendingKeyId = driver.machine.sendingKeyId ?? null;
  driver.handle({ kind: 'exit' });
  await isReached(() => all('closed').length > 0, 500);
  return {
    options: all('connected')[0]?.settings.options ?? [],
    answeredBefore,
    answeredAfter,
    keyIds: all('dataKey').map(({ key }) => key.keyId),
    sendingKeyId,
    closed: all('closed')[0]?.reason ?? null,
  };
}

/** Whether the world came to look like that in time. */
async function isReached(probe: () => boolean, timeoutMs = 8000): Promise<boolean> {
  try {
    return await waitFor('the twin', probe, timeoutMs);
  } catch (error) {
    if (error instanceof WaitError) return false;
    throw error;
  }
}

function wrapOf(plan: TwinPlan): ClientConfig['wrap'] {
  if (plan.wrap === 'none') return { kind: 'none' };
  if (plan.wrap === 'tls-crypt-v2') {
    const key = parseClientKeyPem(plan.wrapKey);
    if (key === undefined) throw new TypeError('The plan holds no tls-crypt-v2 client key');
    return { kind: 'tls-crypt-v2', key };
  }
  const key = parseStaticKey(plan.wrapKey);
  if (key === undefined) throw new TypeError('The plan holds no static key');
  return plan.wrap === 'tls-auth' ? { kind: 'tls-auth', key, digest: 'SHA256' } : { kind: 'tls-crypt', key };
}
