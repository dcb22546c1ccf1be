import { Option, type Command } from 'commander';
import {
  endpointOption,
  manifestPaths,
  manifestsOption,
  outputOption,
  pathsArgument,
  quotaOption,
  required,
  type QuotaLimits,
} from './options.ts';

interface ValidateFlags {
  readonly manifests?: readonly string[];
  readonly quota: QuotaLimits;
  readonly output: 'text' | 'json';
}

interface ExplainFlags {
  readonly manifests?: readonly string[];
  readonly endpoint: string;
  readonly to: readonly string[];
  readonly group?: readonly string[];
  readonly targetNetwork?: string;
  readonly quota: QuotaLimits;
  readonly output: 'text' | 'json';
}

export function addValidateCommand(program: Command): void {
  program
    .command('validate')
    .summary('check manifests')
    .description(
      'Checks manifests against the schema and rules of crds/ and against each other, and prints each finding ' +
        'as FILE:LINE: KIND/NAME: FIELD: MESSAGE. Exits 0 when they are valid, 2 when not. Needs no gateway and no root.',
    )
    .addArgument(pathsArgument())
    .addOption(manifestsOption())
    .addOption(quotaOption())
    .addOption(outputOption(['text', 'json']))
    .addHelpText(
      'after',
      `
--output json prints one array, [] when there is nothing to say, of objects with exactly these keys:
  severity  error or warning
  file, line
  kind, name, field  null where the finding is about none
  message

Examples:
  clientvpn validate examples/quickstart
  clientvpn validate --output json endpoint.yaml rules.yaml`,
    )
    .action(async (paths: readonly string[], flags: ValidateFlags, command: Command) => {
      const manifests = manifestPaths(command, paths, flags.manifests);
      // Loaded only here: schemas and CEL take a good part of a second.
      const { runValidate } = await import('./validate.ts');
      process.exitCode = await runValidate({ manifests, quotas: flags.quota, output: flags.output }, io());
    });
}

export function addExplainCommand(program: Command): void {
  program
    .command('explain')
    .summary('tell whether a client would reach an address, and why')
    .description(
      'Tells, from the manifests alone, whether a client with these groups would reach each address, and which ' +
        'route and rule decide. Exits 0 when all are allowed, 1 when one is refused, 2 on bad input.',
    )
    .addArgument(pathsArgument())
    .addOption(manifestsOption())
    .addOption(required(endpointOption()))
    .addOption(required(new Option('--to <ip...>', 'IPv4 addresses')))
    .addOption(groupOption())
    .option('--target-network <name>', 'the TargetNetwork; may be left out when the endpoint has one')
    .addOption(quotaOption())
    .addOption(outputOption(['text', 'json']))
    .addHelpText(
      'after',
      `
--output json prints one object a line, for each address, with exactly these keys:
  to, allowed
  reason       Allowed, NoRoute, NoRule, NotGranted or SpecialDestination
  route, rule  names of what decided; null where nothing did
  grantedTo    whom the deciding prefix grants: groups, and allUsers

Examples:
  clientvpn explain examples/quickstart --endpoint quickstart --to 10.50.0.10 1.0.0.1
  clientvpn explain --manifests . --endpoint corp --group engineering --group managers --to 172.16.0.10 8.8.8.8 --output json`,
    )
    .action(async (paths: readonly string[], flags: ExplainFlags, command: Command) => {
      const manifests = manifestPaths(command, paths, flags.manifests);
      const { endpoint, to, group = [], targetNetwork, quota: quotas, output } = flags;
      const { runExplain } = await import('./explain.ts');
      process.exitCode = await runExplain(
        { manifests, endpoint, to, groups: group, targetNetwork, quotas, output },
        io(),
      );
    });
}

/** One at a time: unlike an address, a path that comes after it can't be told from a group. */
function groupOption(): Option {
  return new Option('--group <id>', 'group of the client; may be repeated').argParser(
    (id, soFar: readonly string[] | undefined): readonly string[] | undefined => [...(soFar ?? []), id],
  );
}

function io(): { readonly out: NodeJS.WriteStream; readonly err: NodeJS.WriteStream } {
  return { out: process.stdout, err: process.stderr };
}
