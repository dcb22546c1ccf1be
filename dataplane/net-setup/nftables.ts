import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { TerminalError, TransientError } from '../../net/errors.ts';

/** Runs a script as one transaction. @throws TerminalError with nft's own words, TransientError when it can't be run now */
export async function runNftScript(script: string): Promise<void> {
  await nft(['-f', '-'], script);
}

/** `chain/comment` of every rule of the table in order, as the kernel has it; undefined without the table. */
export async function readRuleNames(table: string): Promise<readonly string[] | undefined> {
  const listed = parseListing(await nft(['-j', 'list', 'tables'], ''));
  if (!listed.some((item) => item.table?.family === 'inet' && item.table.name === table)) return undefined;
  // Terse: without what sets hold, which is each client that has had a flow.
  const items = parseListing(await nft(['-j', '-t', 'list', 'table', 'inet', table], ''));
  return items.flatMap(({ rule }) => (rule === undefined ? [] : [`${rule.chain}/${rule.comment ?? ''}`]));
}

/** Base chains for forwarded packets, of every table, that drop what no rule accepts; without their rules. */
export async function readForwardDrops(): Promise<readonly ForeignChain[]> {
  const listed = parseListing(await nft(['-j', 'list', 'chains'], ''));
  return listed.flatMap(({ chain }) => {
    const drops = chain?.hook === 'forward' && chain.policy === 'drop' && chain.family !== 'ip6';
    return drops ? [{ family: chain.family, table: chain.table, name: chain.name }] : [];
  });
}

/** Whether a table has a rule that accepts by the name of the interface; wildcards count. */
export async function acceptsByInterface({ family, table }: ForeignChain, interfaceName: string): Promise<boolean> {
  const listed = parseListing(await nft(['-j', 'list', 'table', family, table], ''));
  return listed.some(({ rule }) => {
    const names = (rule?.expr ?? []).flatMap(({ match }) => matchedInterface(match));
    return names.some((name) => covers(name, interfaceName)) && rule?.expr?.some((one) => 'accept' in one) === true;
  });
}

/** Sets of interface names of that name, by table of family inet. */
export async function readInterfaceSets(): Promise<readonly InterfaceSet[]> {
  const listed = parseListing(await nft(['-j', 'list', 'sets'], ''));
  return listed.flatMap(({ set }) =>
    set?.family === 'inet' && set.type === 'ifname'
      ? [{ table: set.table, name: set.name, elements: set.elem ?? [] }]
      : [],
  );
}

export interface ForeignChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
}

export interface InterfaceSet {
  readonly table: string;
  readonly name: string;
  readonly elements: readonly string[];
}

interface ListedItem {
  readonly table?: { readonly family: string; readonly name: string };
  readonly chain?: ForeignChain & { readonly hook?: string; readonly policy?: string };
  readonly set?: {
    readonly family: string;
    readonly table: string;
    readonly name: string;
    readonly type: unknown;
    readonly elem?: readonly string[];
  };
  readonly rule?: { readonly chain: string; readonly comment?: string; readonly expr?: readonly Expression[] };
}

interface Expression {
  readonly match?: Match;
  readonly accept?: null;
}

interface Match {
  readonly op: string;
  readonly left?: { readonly meta?: { readonly key: string } };
  readonly right?: unknown;
}

function matchedInterface(match: Match | undefined): readonly string[] {
  const isInterface = ['iifname', 'oifname'].includes(match?.left?.meta?.key ?? '');
  return isInterface && match?.op === '==' && typeof match.right === 'string' ? [match.right] : [];
}

function covers(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
}

function parseListing(json: string): readonly ListedItem[] {
  return (JSON.parse(json) as { nftables: readonly ListedItem[] }).nftables;
}

async function nft(options: readonly string[], input: string): Promise<string> {
  for (let tries = 1; ; tries++) {
    const { status, output, complaint } = await runNft(options, input);
    if (status === 0) return output;
    // Ended by a signal, such as a Ctrl-C before it had its session. Whatever we ask of it may be asked twice.
    if (status === null && tries < TRIES_MOST) continue;
    throw new TerminalError(`nft failed: ${complaint.trim() || `status ${status ?? 'by signal'}`}`);
  }
}

async function runNft(
  options: readonly string[],
  input: string,
): Promise<{ readonly status: number | null; readonly output: string; readonly complaint: string }> {
  // In a session of its own: a second Ctrl-C on the terminal would end it in the middle of the clean-up.
  const child = spawn('nft', options, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  const closed = once(child, 'close').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT')
      throw new TerminalError('nft is not to be found. Install it: apt-get install nftables', { cause });
    throw new TransientError(`nft could not be started: ${cause.message}`, { cause });
  }) as Promise<[number | null]>;
  // Without descriptors for them there are no streams, whatever the types say, and 'error' follows.
  if ((child.stdin as Writable | undefined) === undefined) await closed;
  let output = '';
  let complaint = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  // nft that refuses its options closes its input early; its exit status tells.
  child.stdin.on('error', () => undefined).end(input);
  const [status] = await closed;
  return { status, output, complaint };
}

const TRIES_MOST = 3;
