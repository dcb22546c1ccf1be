import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { TerminalError } from '../../net/errors.ts';

/** Runs a script as one transaction. @throws TerminalError with nft's own words */
export async function runNftScript(script: string): Promise<void> {
  await nft(['-f', '-'], script);
}

/** `chain/comment` of every rule of the table in order, as the kernel has it; undefined without the table. */
export async function readRuleNames(table: string): Promise<readonly string[] | undefined> {
  const listed = parseListing(await nft(['-j', 'list', 'tables'], ''));
  if (!listed.some((item) => item.table?.family === 'inet' && item.table.name === table)) return undefined;
  const items = parseListing(await nft(['-j', 'list', 'table', 'inet', table], ''));
  return items.flatMap(({ rule }) => (rule === undefined ? [] : [`${rule.chain}/${rule.comment ?? ''}`]));
}

interface ListedItem {
  readonly table?: { readonly family: string; readonly name: string };
  readonly rule?: { readonly chain: string; readonly comment?: string };
}

function parseListing(json: string): readonly ListedItem[] {
  return (JSON.parse(json) as { nftables: readonly ListedItem[] }).nftables;
}

async function nft(options: readonly string[], input: string): Promise<string> {
  const child = spawn('nft', options, { stdio: ['pipe', 'pipe', 'pipe'] });
  let output = '';
  let complaint = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  // nft that refuses its options closes its input early; its exit status tells.
  child.stdin.on('error', () => undefined).end(input);
  const [status] = (await once(child, 'close').catch((cause: unknown) => {
    throw new TerminalError('nft is not to be found. Install it: apt-get install nftables', { cause });
  })) as [number | null];
  if (status !== 0) throw new TerminalError(`nft failed: ${complaint.trim() || `status ${status ?? 'by signal'}`}`);
  return output;
}
