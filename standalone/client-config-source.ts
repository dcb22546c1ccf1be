import type { ControlWrapKind } from '../api/endpoint-snapshot.ts';
import { isMeant } from '../api/names.ts';
import { TerminalError } from '../net/errors.ts';
import type { StateFolder } from './state-folder.ts';

/** What `client-config` needs to know about the endpoint, kept in the state folder. Holds the wrap key: a secret. */
export interface ClientConfigSource {
  readonly formatVersion: 1;
  readonly endpoint: string;
  readonly namespace: string;
  readonly transport: 'udp' | 'tcp';
  readonly port: number;
  readonly serverCaPem: string;
  readonly mutual: boolean;
  /** The Secret whose client CA auto PKI made; null when the CA is somebody else's. */
  readonly ownClientCa: string | null;
  readonly userLogin: { readonly mfaPrompt: string | null } | null;
  readonly controlWrap: ControlWrapKind;
  readonly controlWrapKey: string | null;
}

export function storeClientConfigSource(folder: StateFolder, source: ClientConfigSource): void {
  folder.write(CLIENT_CONFIG_FILE, `${JSON.stringify(source)}\n`);
}

/**
 * @param endpoint `NAME` or `NAMESPACE/NAME`; undefined: the one that the gateway serves
 * @throws TerminalError when no gateway ever ran on this folder, or it serves another endpoint, or its file can't be used
 */
export function loadClientConfigSource(folder: StateFolder, endpoint: string | undefined): ClientConfigSource {
  const text = folder.read(CLIENT_CONFIG_FILE);
  if (text === undefined)
    throw new TerminalError(`No gateway has run on ${folder.path} yet. Start one: clientvpn standalone`);
  const source = sourceIn(text);
  if (source === undefined)
    throw new TerminalError(
      `${folder.pathOf(CLIENT_CONFIG_FILE)} is damaged or of another version. A gateway that starts writes it anew`,
    );
  const { namespace, endpoint: name } = source;
  if (endpoint === undefined || isMeant(endpoint, { namespace, name })) return source;
  const served = endpoint.includes('/') ? `${namespace}/${name}` : name;
  throw new TerminalError(`There is no endpoint ${endpoint} on ${folder.path}; the gateway serves ${served}`);
}

/** Of the file's text nothing gets into an error: it holds a key. */
function sourceIn(text: string): ClientConfigSource | undefined {
  try {
    const source = JSON.parse(text) as Partial<ClientConfigSource> | null;
    return source?.formatVersion === 1 ? (source as ClientConfigSource) : undefined;
  } catch {
    return undefined;
  }
}

export const CLIENT_CONFIG_FILE = 'client-config.json';
