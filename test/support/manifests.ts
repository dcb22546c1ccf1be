import { argon2Sync, randomBytes } from 'node:crypto';
import { stringify } from 'yaml';
import type { ControlWrapKind } from '../../api/endpoint-snapshot.ts';

export interface EndpointOptions {
  readonly name?: string;
  readonly transport?: 'udp' | 'tcp';
  readonly port?: 443 | 1194;
  readonly controlWrap?: ControlWrapKind;
  readonly mutual?: boolean;
  /** Name of an IdentityProvider of type Local. */
  readonly local?: string;
  readonly splitTunnel?: boolean;
  /** Further fields of the spec, as they stand in YAML. */
  readonly spec?: Readonly<Record<string, unknown>>;
}

export interface UserOptions {
  readonly name: string;
  readonly password: string;
  readonly groups?: readonly string[];
  readonly totpSecret?: string;
}

export const ENDPOINT = 'office';
export const NETWORK = 'net-a';
export const CLIENT_CIDR = '10.200.0.0/22';

/** Joins objects to one YAML file. */
export function yamlOf(...objects: readonly object[]): string {
  return objects.map((object) => stringify(object)).join('---\n');
}

export function endpoint(options: EndpointOptions = {}): object {
  const mutual = options.mutual ?? options.local === undefined;
  return {
    ...resource('ClientVpnEndpoint', options.name ?? ENDPOINT),
    spec: {
      clientCIDR: CLIENT_CIDR,
      serverCertificate: { secretRef: { name: 'server' } },
      authentication: {
        ...(mutual ? { mutual: { clientCA: { secretRef: { name: 'clients' } } } } : {}),
        ...(options.local === undefined ? {} : { local: { identityProviderRef: { name: options.local } } }),
      },
      transport: options.transport ?? 'udp',
      port: options.port ?? 1194,
      controlWrap: options.controlWrap ?? 'None',
      splitTunnel: options.splitTunnel ?? true,
      ...options.spec,
    },
  };
}

/** A target network of the guide's example: its VPC becomes automatic routes. */
export function targetNetwork(name: string = NETWORK, vpcCidrs: readonly string[] = ['192.168.0.0/24']): object {
  return {
    ...resource('TargetNetwork', name),
    spec: {
      endpointRef: { name: ENDPOINT },
      zone: `zone-of-${name}`,
      subnet: { cidr: vpcCidrs[0] },
      vpc: { name: 'vpc', cidrs: vpcCidrs },
    },
  };
}

export function route(destination: string, target: string | { readonly local: true } = NETWORK): object {
  const name = `route-${nameFor(destination)}`;
  return {
    ...resource('Route', name),
    spec: {
      endpointRef: { name: ENDPOINT },
      destinationCIDR: destination,
      target:
        typeof target === 'string' ? { type: 'TargetNetwork', targetNetworkRef: { name: target } } : { type: 'Local' },
    },
  };
}

/** A rule for one group, or for all users without one. */
export function rule(destination: string, group?: string): object {
  const name = `rule-${nameFor(destination)}-${group ?? 'all'}`;
  return {
    ...resource('AuthorizationRule', name),
    spec: {
      endpointRef: { name: ENDPOINT },
      destinationCIDR: destination,
      access: group === undefined ? { allUsers: true } : { groupID: group },
    },
  };
}

/** A Local provider and the Secret with its users. */
export function users(provider: string, people: readonly UserOptions[], mfa = false): readonly object[] {
  const document = {
    users: people.map(({ name, password, groups, totpSecret }) => ({
      name,
      passwordHash: hashFor(password),
      groups: groups ?? [],
      ...(totpSecret === undefined ? {} : { totpSecret }),
    })),
  };
  return [
    {
      ...resource('IdentityProvider', provider),
      spec: {
        type: 'Local',
        local: { usersSecretRef: { name: `${provider}-users` }, ...(mfa ? { mfa: { enabled: true } } : {}) },
      },
    },
    secret(`${provider}-users`, { 'users.yaml': stringify(document) }),
  ];
}

export function secret(name: string, stringData: Readonly<Record<string, string>>): object {
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData };
}

function resource(kind: string, name: string): object {
  return { apiVersion: 'clientvpn.dev/v1alpha1', kind, metadata: { name } };
}

function nameFor(cidr: string): string {
  return cidr.replaceAll(/[./]/g, '-');
}

/** The cheapest argon2id that is still one: tests are not about its strength. */
function hashFor(password: string): string {
  const cached = hashes.get(password);
  if (cached !== undefined) return cached;
  const nonce = randomBytes(16);
  const tag = argon2Sync('argon2id', {
    message: password,
    nonce,
    parallelism: 1,
    tagLength: 32,
    memory: 1024,
    passes: 1,
  });
  const base64 = (bytes: Buffer): string => bytes.toString('base64').replaceAll('=', '');
  const hash = `$argon2id$v=19$m=1024,t=1,p=1$${base64(nonce)}$${base64(tag)}`;
  hashes.set(password, hash);
  return hash;
}

const hashes = new Map<string, string>();
