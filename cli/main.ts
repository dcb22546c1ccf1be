import { Command, CommanderError } from 'commander';
import { TerminalError, TransientError } from '../net/errors.ts';
import { addClientConfigCommand } from './client-config-command.ts';
import { addConnectionsCommand, addStatusCommand, addTerminateCommand } from './gateway-commands.ts';
import { addHashPasswordCommand } from './hash-password-command.ts';
import { addExplainCommand, addValidateCommand } from './manifest-commands.ts';
import { refuseMissingOptions } from './options.ts';
import { packageVersion } from './package-version.ts';
import { addStandaloneCommand } from './standalone-command.ts';

const USAGE_ERROR = 2;

const program = new Command('clientvpn')
  .description('Client VPN: a self-hosted gateway that stock OpenVPN clients connect to.')
  .version(packageVersion(), '-V, --version', 'print the version')
  .helpOption('-h, --help', 'print help for a command')
  .configureHelp({ showGlobalOptions: false })
  .showHelpAfterError('Run with --help to see what there is.')
  .exitOverride()
  .hook('preAction', (_, command) => refuseMissingOptions(command))
  .addHelpText(
    'after',
    `
A first gateway, with certificates made for you:
  sudo clientvpn standalone --manifests examples/quickstart --state-dir ./.state --auto-pki
  sudo clientvpn client-config --state-dir ./.state --client laptop --output laptop.ovpn
  sudo clientvpn status --state-dir ./.state`,
  );

addStandaloneCommand(program);
addValidateCommand(program);
addClientConfigCommand(program);
addStatusCommand(program);
addConnectionsCommand(program);
addTerminateCommand(program);
addExplainCommand(program);
addHashPasswordCommand(program);

let isOutputLost = false;
// A reader such as `head` that has seen enough is no error, nor is a terminal that was closed.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || error.code === 'EIO' || isOutputLost) return;
    isOutputLost = true;
    if (stream === process.stdout) process.stderr.write(`Standard output could not be written: ${error.message}\n`);
    // Half an answer is none, whatever the command says of it.
    process.once('exit', () => (process.exitCode = USAGE_ERROR));
  });
}

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

/** Commander has printed its own errors by then. */
function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE_ERROR;
  if (error instanceof TerminalError || error instanceof TransientError || isSystemError(error)) {
    process.stderr.write(`${error.message}\n`);
    return USAGE_ERROR;
  }
  throw error;
}

/** Such as a file that can't be written: the system's words say it. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error;
}
