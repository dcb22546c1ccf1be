export interface ImportRule {
  /** A folder or a file; the longest one that matches decides. */
  readonly of: string;
  /** Folders and files of ours that it may import, besides itself. */
  readonly ours: readonly string[];
  /** Modules of Node; `*` for any. */
  readonly node: readonly string[];
  readonly packages: readonly string[];
}

/** Who may import whom. docs/architecture.md draws the same table for people. */
export const IMPORT_RULES: readonly ImportRule[] = [
  { of: 'net', ours: [], node: [], packages: [] },
  { of: 'api', ours: ['net'], node: ['node:crypto'], packages: [] },

  {
    of: 'api/generate-types.ts',
    ours: ['net', 'api'],
    node: ['*'],
    packages: ['json-schema-to-typescript', 'yaml'],
  },

  { of: 'dataplane/protocol', ours: ['net', 'dataplane/data-channel.ts'], node: ['node:crypto'], packages: [] },
  { of: 'dataplane/policy', ours: ['net', 'dataplane/data-channel.ts'], node: ['node:crypto'], packages: [] },
  { of: 'dataplane/data-channel.ts', ours: ['net'], node: [], packages: [] },
  { of: 'dataplane/process-messages.ts', ours: ['api'], node: [], packages: [] },
  {
    of: 'dataplane/tunnel',
    // The addon is a port: its types live beside its wrapper.
    ours: [
      'dataplane/protocol',
      'dataplane/policy',
      'dataplane/data-channel.ts',
      'dataplane/io/native-addon.ts',
      'net',
    ],
    node: [],
    packages: [],
  },
  {
    of: 'dataplane/sessions',
    ours: [
      'dataplane/protocol',
      'dataplane/policy',
      'dataplane/data-channel.ts',
      'dataplane/process-messages.ts',
      'net',
      'api',
    ],
    node: ['node:crypto'],
    packages: [],
  },
  { of: 'dataplane/auth', ours: ['api', 'net'], node: ['*'], packages: ['@peculiar/x509'] },
  { of: 'dataplane/net-setup', ours: ['api', 'net'], node: ['*'], packages: ['node-netlink'] },
  { of: 'dataplane/io/native-addon.ts', ours: [], node: [], packages: [] },
  { of: 'dataplane/io', ours: ['dataplane', 'api', 'net'], node: ['*'], packages: ['pino', 'prom-client'] },
  { of: 'dataplane/main.ts', ours: ['dataplane', 'api', 'net'], node: ['*'], packages: ['pino', 'prom-client'] },

  { of: 'operator/endpoint', ours: ['api', 'net', 'dataplane/policy'], node: ['node:crypto'], packages: [] },
  // The users document is YAML in a Secret; parsing it is as pure as the checks on it.
  { of: 'operator/endpoint/checks/local-users.ts', ours: ['api'], node: [], packages: ['yaml'] },
  { of: 'operator/pki', ours: ['api', 'net'], node: ['*'], packages: ['@peculiar/x509', 'reflect-metadata'] },

  {
    of: 'standalone',
    ours: ['operator/endpoint', 'operator/pki', 'dataplane', 'api', 'net'],
    node: ['*'],
    packages: ['yaml', 'ajv', '@marcbachmann/cel-js', 'pino', '@peculiar/x509'],
  },
  {
    of: 'cli',
    ours: ['standalone', 'operator/endpoint', 'operator/pki', 'dataplane/policy', 'dataplane/auth', 'api', 'net'],
    node: ['*'],
    packages: ['commander'],
  },
];

/** Folders whose code is a function of its inputs: no clock, no randomness, no promise, no socket, no log. */
export const PURE_FOLDERS = [
  'net',
  'api',
  'dataplane/protocol',
  'dataplane/policy',
  'dataplane/sessions',
  'dataplane/tunnel',
  'operator/endpoint',
] as const;

/** Build tools that stand beside what they make. */
export const TOOLS: readonly string[] = ['api/generate-types.ts'];

export function isUnder(path: string, folderOrFile: string): boolean {
  return path === folderOrFile || path.startsWith(`${folderOrFile}/`);
}
