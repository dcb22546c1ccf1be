import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { statSync, writeFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { clientProfileText, isWildcardCapable, type ClientProfile } from '../api/client-profile.ts';
import { formatStaticKey, parseStaticKey } from '../dataplane/protocol/static-key.ts';
import { TerminalError } from '../net/errors.ts';
import { newTlsCryptV2ClientKey } from '../operator/pki/wrap-keys.ts';
import { AutoPki } from './auto-pki.ts';
import { loadClientConfigSource, type ClientConfigSource } from './client-config-source.ts';
import { StateFolder, writeFileAtomic } from './state-folder.ts';

export interface ClientConfigRequest {
  readonly stateDir: string;
  /** `NAME` or `NAMESPACE/NAME`; undefined: the one that the gateway serves. */
  readonly endpoint: string | undefined;
  /** Common name of the client's certificate. */
  readonly client: string | undefined;
  /** A name or address under which clients reach the gateway. */
  readonly remote: string;
  /** Whether every name below `remote` leads to the gateway too, so that no resolver's cache stands between. */
  readonly wildcardDns: boolean;
}

/** The text of a client file; makes the client's certificate at its first time. @throws TerminalError for a person */
export async function clientConfigText(request: ClientConfigRequest, now: Date): Promise<string> {
  refuseBadRemote(request.remote);
  if (request.wildcardDns && !isWildcardCapable(request.remote))
    throw new TerminalError(
      `There are no names below ${request.remote}: --wildcard-dns goes with a name such as vpn.example.com`,
    );
  const folder = StateFolder.open(request.stateDir);
  const source = loadClientConfigSource(folder, request.endpoint);
  return clientProfileText({
    remoteHost: request.remote,
    wildcardDns: request.wildcardDns,
    port: source.port,
    transport: source.transport,
    serverCaPem: onlyCertificates(source.serverCaPem),
    clientCertificate: await clientCertificate(folder, source, request.client, now),
    userLogin: source.userLogin,
    controlWrap: controlWrapFor(source, now),
  });
}

/**
 * What whoever gets the file must still put into it, for a person; undefined when it is whole.
 *
 * @throws TerminalError when there is nothing on the state folder to make a file from
 */
export function missingFromFile({
  stateDir,
  endpoint,
  client,
}: Pick<ClientConfigRequest, 'stateDir' | 'endpoint' | 'client'>): string | undefined {
  const source = loadClientConfigSource(StateFolder.open(stateDir), endpoint);
  if (!source.mutual || client !== undefined) return undefined;
  const lacks = 'The file lacks a client certificate and its key, and connects nobody without';
  return source.ownClientCa === null
    ? `${lacks}: put those that the owner of the client CA issues between <cert> and </cert>, <key> and </key>`
    : `${lacks}: --client NAME makes them, or put your own between <cert> and </cert>, <key> and </key>`;
}

/** @throws TerminalError */
function refuseBadRemote(remote: string): void {
  if (HOST_NAME.test(remote) || isIPv6(remote)) return;
  const isIpv6InBrackets = /^\[.*\]$/.test(remote) && isIPv6(remote.slice(1, -1));
  const hint = isIpv6InBrackets
    ? '. Leave the brackets out'
    : remote.includes(':')
      ? '. The port is that of the endpoint: give the host alone'
      : '';
  throw new TerminalError(`${JSON.stringify(remote)} is no host name or address${hint}`);
}

/** Writes a client file, mode 0600; a device or pipe is written to, not replaced. @throws TerminalError if it can't */
export function writeClientFile(path: string, text: string): void {
  try {
    if (statSync(path, { throwIfNoEntry: false })?.isFile() === false) writeFileSync(path, text);
    else writeFileAtomic(path, text);
  } catch (cause) {
    throw new TerminalError(`${path} could not be written: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}

/** The address this machine uses towards the outside, as a guess at what clients can reach; undefined when offline. */
export async function guessRemote(): Promise<string | undefined> {
  const probe = createSocket('udp4');
  try {
    // Connecting a datagram socket only looks up the route: nothing is sent.
    probe.connect(9, DOCUMENTATION_ADDRESS);
    await once(probe, 'connect');
    return probe.address().address;
  } catch {
    return undefined;
  } finally {
    probe.close();
  }
}

async function clientCertificate(
  folder: StateFolder,
  source: ClientConfigSource,
  client: string | undefined,
  now: Date,
): Promise<ClientProfile['clientCertificate']> {
  if (!source.mutual) return null;
  if (source.ownClientCa === null) {
    if (client === undefined) return 'placeholder';
    throw new TerminalError(
      `The client CA of ${source.endpoint} was not made by --auto-pki: its owner issues the certificates. ` +
        'Leave --client out, and put certificate and key in their places in the file.',
    );
  }
  if (client === undefined) return 'placeholder';
  if (!COMMON_NAME.test(client))
    throw new TerminalError('A common name has 1 to 64 characters, none of them a control character');
  return new AutoPki(folder, () => now).clientCertificate(source.namespace, source.ownClientCa, client);
}

function controlWrapFor(source: ClientConfigSource, now: Date): ClientProfile['controlWrap'] {
  const { controlWrap: kind, controlWrapKey: key } = source;
  if (kind === 'None' || key === null) return { kind: 'None' };
  if (kind !== 'TlsCryptV2') return { kind, staticKey: onlyStaticKey(key) };
  return { kind, clientKeyPem: newTlsCryptV2ClientKey(key, Math.floor(now.getTime() / 1_000), randomBytes) };
}

/** Some keep certificate and private key in one text; and what else stands there would be an option of the client's. */
function onlyCertificates(pem: string): string {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g);
  if (blocks === null)
    throw new TerminalError("The server's Secret holds no certificate for clients to verify it with");
  return blocks.join('\n');
}

function onlyStaticKey(text: string): string {
  const key = parseStaticKey(text);
  if (key === undefined) throw new TerminalError("The control wrap's key is none");
  return formatStaticKey(key);
}

const HOST_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,252}$/;
/** X.520 allows 64 characters. */
const COMMON_NAME = /^[^\p{Cc}]{1,64}$/u;
const DOCUMENTATION_ADDRESS = '192.0.2.1';
