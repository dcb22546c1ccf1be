import { Option, type Command } from 'commander';
import { TerminalError } from '../net/errors.ts';
import type { StandaloneOptions } from '../standalone/run-standalone.ts';
import { manifestsOption, parseHostPort, quotaOption, required, stateDirOption, type QuotaLimits } from './options.ts';
import { quotasFrom } from './quota-option.ts';

interface StandaloneFlags {
  readonly manifests: readonly string[];
  readonly stateDir: string;
  readonly targetNetwork?: string;
  readonly autoPki?: true;
  readonly quota: QuotaLimits;
  readonly metricsListen?: { readonly host: string; readonly port: number };
  readonly logLevel: StandaloneOptions['logLevel'];
}

type TimersForTest = NonNullable<StandaloneOptions['timersForTest']>;

export function addStandaloneCommand(program: Command): void {
  program
    .command('standalone')
    .summary('run a gateway on this machine')
    .description(
      'Runs a gateway on this machine, from the manifests, until SIGTERM or Ctrl-C. Needs root.\n' +
        'Edited manifests are checked and hold within a second; a bad edit is refused and the last good state stays.\n' +
        'Log lines are JSON on standard output; "msg":"Ready" means that clients can connect.\n' +
        'Exits 0 after an orderly end, 2 when the start was refused, 1 when it could not go on.',
    )
    .addOption(required(manifestsOption()))
    .addOption(stateDirOption())
    .option('--target-network <name>', 'the TargetNetwork to serve; may be left out when there is one')
    .option('--auto-pki', 'make certificates and keys for Secrets that the manifests name but do not hold')
    .addOption(quotaOption())
    .addOption(
      new Option('--metrics-listen <host:port>', 'serve /metrics, /healthz and /readyz there').argParser(parseHostPort),
    )
    .addOption(
      new Option('--log-level <level>', 'least level to log')
        .choices(['debug', 'info', 'warn', 'error'])
        .default('info'),
    )
    .addHelpText(
      'after',
      `
Examples:
  sudo clientvpn standalone --manifests examples/quickstart --state-dir /var/lib/clientvpn --auto-pki
  sudo clientvpn standalone --manifests endpoint.yaml secrets/ --state-dir /var/lib/clientvpn \\
      --target-network eu-1a --quota authorization-rules=200 --metrics-listen 127.0.0.1:9090`,
    )
    .action(async (flags: StandaloneFlags) => {
      const quotas = quotasFrom(flags.quota);
      if (typeof quotas === 'string') throw new TerminalError(quotas);
      // Loaded only here: the other commands need neither the addon nor netlink.
      const { runStandalone } = await import('../standalone/run-standalone.ts');
      const status = await runStandalone({
        manifests: flags.manifests,
        stateDir: flags.stateDir,
        targetNetwork: flags.targetNetwork,
        autoPki: flags.autoPki === true,
        quotas,
        metricsListen: flags.metricsListen ?? null,
        logLevel: flags.logLevel,
        timersForTest: timersForTest(),
      });
      // Handles of a library may linger; everything of ours is closed by now.
      process.exit(status);
    });
}

/** CLIENTVPN_TIMERS_FOR_TEST: JSON of EngineTimers; not for production, and therefore no flag. */
function timersForTest(): TimersForTest {
  return JSON.parse(process.env['CLIENTVPN_TIMERS_FOR_TEST'] ?? '{}') as TimersForTest;
}
