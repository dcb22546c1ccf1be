import { checkManifests, loadValidator, unattachedEndpoints } from '../standalone/check-manifests.ts';
import { findingRecord, formatFinding, hasErrors, sortFindings } from '../standalone/findings.ts';
import { readManifestFiles } from '../standalone/read-manifests.ts';
import type { CommandIo } from './command-io.ts';
import { quotasFrom } from './quota-option.ts';

export interface ValidateOptions {
  readonly manifests: readonly string[];
  readonly quotas: Readonly<Record<string, number>>;
  readonly output?: 'text' | 'json';
}

/** Checks manifests and prints each finding. @returns the exit code: 0, or 2 with an error among the findings. */
export async function runValidate(options: ValidateOptions, io: CommandIo): Promise<number> {
  const quotas = quotasFrom(options.quotas);
  if (typeof quotas === 'string') {
    io.err.write(`${quotas}\n`);
    return 2;
  }
  const read = await readManifestFiles(options.manifests);
  const checked = checkManifests(read.files, await loadValidator(), { quotas, now: Date.now() });
  const findings = sortFindings([...read.findings, ...checked.findings, ...unattachedEndpoints(checked.set)]);
  if (options.output === 'json') io.out.write(`${JSON.stringify(findings.map(findingRecord))}\n`);
  else for (const finding of findings) io.out.write(`${formatFinding(finding)}\n`);
  if (hasErrors(findings)) return 2;
  const objects = Object.values(checked.set.resources).reduce((sum, list) => sum + list.length, 0);
  io.err.write(objects === 0 ? 'nothing to validate: no Client VPN object\n' : `${objects} objects are valid\n`);
  return 0;
}
