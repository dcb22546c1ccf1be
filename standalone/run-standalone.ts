import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createLogger } from '../dataplane/io/logger.ts';
import { LogSink } from '../dataplane/io/log-sink.ts';
import { loadAddon } from '../dataplane/io/load-addon.ts';
import { TerminalError, TransientError } from '../net/errors.ts';
import { formatFinding } from './findings.ts';
import { Gateway, ManifestsRefused, type GatewayOptions } from './gateway.ts';
import { openLogOutput } from './log-output.ts';
import { LOCK_FILE, StateFolder } from './state-folder.ts';
import { StateLock } from './state-lock.ts';
import { LOG_FLUSH_MS } from './stop-limits.ts';

export interface StandaloneOptions extends GatewayOptions {
  readonly stateDir: string;
}

/**
 * Runs a gateway until SIGTERM or SIGINT. Findings and reasons of a failed start go to standard error,
 * log lines to standard output.
 *
 * @returns the exit code: 0 after an orderly end, 2 for a start that was refused, 1 when it could not go on or for a
 *   fault of ours, also one at the start or during the clean-up
 */
export async function runStandalone(options: StandaloneOptions): Promise<number> {
  // A reader that stops reading must not stop the gateway: the sink drops and counts.
  const output = openLogOutput({
    onRelayLost: (cause) => {
      sink.redirect(output.stream);
      log.warn({ cause }, 'The log goes straight to the terminal: while that is held, the gateway stands still');
    },
    onNotLent: (cause) => log.warn({ cause }, 'The log lines of the data plane are lost'),
  });
  const sink = new LogSink(output.stream);
  const log = createLogger({ level: options.logLevel, sink });
  const end = Promise.withResolvers<number>();
  const onSignal = (signal: NodeJS.Signals): void => {
    log.info({ signal }, 'Stopping');
    end.resolve(0);
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  let hasFault = false;
  // A fault of ours ends the gateway, but in order: nothing of it stays on the machine.
  const onFault = (error: unknown): void => {
    hasFault = true;
    log.fatal(faultOf(error), 'Gateway failed');
    end.resolve(FAULT_STATUS);
  };
  process.on('uncaughtException', onFault);
  let gateway: Gateway | undefined;
  let lock: StateLock | undefined;
  let status = 0;
  try {
    refuseUnfitMachine();
    const folder = StateFolder.create(options.stateDir);
    lock = StateLock.acquire(folder.pathOf(LOCK_FILE));
    const onGivenUp = (reason: string): void => {
      log.fatal({ cause: reason }, 'The data plane can not be kept running');
      end.resolve(FAULT_STATUS);
    };
    const addon = loadAddon();
    // Before there is a key in it.
    addon.hideMemory();
    const started = new Gateway(options, { folder, addon, log, output: () => output.lend(), onGivenUp });
    gateway = started;
    process.on('SIGHUP', () => started.reload());
    // A signal during the start is obeyed at once; `stop` undoes as far as it got.
    const outcome = await Promise.race([started.start(), end.promise]);
    status = typeof outcome === 'number' ? outcome : await end.promise;
  } catch (error) {
    if (reportRefusal(error)) status = REFUSED_STATUS;
    else onFault(error);
  }
  try {
    await gateway?.stop();
    lock?.release();
  } catch (error) {
    onFault(error);
  }
  log.info('Stopped');
  await sink.flush(LOG_FLUSH_MS);
  await output.close(LOG_FLUSH_MS);
  return hasFault ? FAULT_STATUS : status;
}

/** @throws TerminalError saying what to do */
function refuseUnfitMachine(): void {
  if (process.geteuid?.() !== 0)
    throw new TerminalError(
      'A gateway makes a TUN device and nft rules, for which it needs root. Use sudo. ' +
        'The part that talks to clients runs without any privilege.',
    );
  if (!existsSync('/dev/net/tun'))
    throw new TerminalError(
      'There is no /dev/net/tun. On a machine of your own: modprobe tun. ' +
        'In a container: give it the device and the capability NET_ADMIN.',
    );
  const missing = Object.entries(PROGRAMS).filter(
    ([program]) => spawnSync(program, ['--version'], { stdio: 'ignore' }).error !== undefined,
  );
  const [first] = missing;
  if (first !== undefined) {
    const packages = [...new Set(missing.map(([, name]) => name))].join(' ');
    const names = missing.map(([program]) => program).join(', ');
    throw new TerminalError(`Not installed: ${names}. To install: apt-get install ${packages}`);
  }
}

/** Tells people why a start was refused. @returns false for a fault of ours */
function reportRefusal(error: unknown): boolean {
  if (error instanceof ManifestsRefused)
    for (const finding of error.findings) process.stderr.write(`${formatFinding(finding)}\n`);
  else if (isForPeople(error)) process.stderr.write(`${error.message}\n`);
  else return false;
  return true;
}

/** No more of it: what else hangs on an error, a cause or an input, might be secret. */
function faultOf(error: unknown): Readonly<Record<string, unknown>> {
  if (!(error instanceof Error)) return { name: 'Error', cause: String(error) };
  return { name: error.name, cause: error.message, stack: error.stack };
}

/** Ours for people, and what the system says: a full disk, a missing right. Anything else is a fault of ours. */
function isForPeople(error: unknown): error is Error {
  return (
    error instanceof TerminalError || error instanceof TransientError || (error instanceof Error && 'syscall' in error)
  );
}

const FAULT_STATUS = 1;
const REFUSED_STATUS = 2;
/** Program → Debian package. */
const PROGRAMS = { nft: 'nftables', setpriv: 'util-linux', flock: 'util-linux' } as const;
