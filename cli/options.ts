import { Argument, InvalidArgumentError, Option, type Command } from 'commander';

/** Options that several commands have, with the same meaning everywhere. */
export function manifestsOption(): Option {
  return new Option(
    '--manifests <path...>',
    'YAML or JSON files, or folders of them, but not folders in these: kinds of clientvpn.dev, Secrets and ConfigMaps',
  );
}

/** For commands that only read manifests, and therefore take them as plain arguments, too. */
export function pathsArgument(): Argument {
  return new Argument('[path...]', 'manifests, as behind --manifests');
}

/** What was named in either way; ends the program when that is nothing. */
export function manifestPaths(
  command: Command,
  paths: readonly string[],
  named: readonly string[] = [],
): readonly string[] {
  const all = [...paths, ...named];
  if (all.length === 0) command.error("error: required option '--manifests <path...>' not specified, nor a path");
  return all;
}

export function stateDirOption(): Option {
  return required(new Option('--state-dir <dir>', 'folder with what the gateway keeps').argParser(nonEmpty));
}

/** A variable of a script that is not set would otherwise mean the working directory. */
function nonEmpty(text: string): string {
  if (text === '') throw new InvalidArgumentError('It is empty.');
  return text;
}

export function endpointOption(more = ''): Option {
  return new Option('--endpoint <name>', `the ClientVpnEndpoint, as NAME or NAMESPACE/NAME${more}`);
}

/**
 * Makes `refuseMissingOptions` ask for the option. Commander's own check runs before the one for unknown options, so
 * that `--manifest` would be answered with "required option '--manifests' not specified" and no suggestion.
 */
export function required(option: Option): Option {
  REQUIRED.add(option);
  option.description += ' (required)';
  return option;
}

export function refuseMissingOptions(command: Command): void {
  for (const option of command.options) {
    if (!REQUIRED.has(option) || command.getOptionValueSource(option.attributeName()) !== undefined) continue;
    command.error(`error: required option '${option.flags}' not specified`);
  }
}

const REQUIRED = new WeakSet<Option>();

/** Collected as `{ name: limit }`; names and limits are judged by the command. */
export function quotaOption(): Option {
  return new Option('--quota <name=n...>', 'raise a quota: authorization-rules, routes or endpoints')
    .argParser(addQuota)
    .default({}, 'those of the guide');
}

export function outputOption<T extends string>(formats: readonly [T, ...T[]]): Option {
  return new Option('--output <format>', 'how to print').choices(formats).default(formats[0]);
}

export type QuotaLimits = Readonly<Record<string, number>>;

function addQuota(text: string, soFar: QuotaLimits): QuotaLimits {
  const match = /^([a-z-]+)=([0-9]{1,9})$/.exec(text);
  if (match === null) throw new InvalidArgumentError('Expected NAME=N, such as routes=50.');
  const [, name, limit] = match;
  return { ...soFar, [name]: Number(limit) };
}

/** `HOST:PORT`, IPv6 addresses in brackets. */
export function parseHostPort(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535)
    throw new InvalidArgumentError('Expected HOST:PORT, such as 127.0.0.1:9090 or [::1]:9090.');
  return { host, port };
}
