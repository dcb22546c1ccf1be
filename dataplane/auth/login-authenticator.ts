import type { AuthenticationRequest } from '../../api/authentication.ts';
import type { DataPlaneConfig } from '../../api/data-plane-config.ts';
import {
  certificateDenial,
  denial,
  type Authenticator,
  type LoginDialogue,
  type PlainVerdict,
} from './authenticator.ts';
import { checkCertificate, type CertificateIdentity } from './certificate.ts';
import type { LocalProvider } from './local-provider.ts';
import { loginFaultOf, type LoginFault } from './login-fault.ts';
import { RevocationCheck } from './revocation.ts';

/**
 * Composes the factors an endpoint asks for: every one must succeed, and an endpoint that asks for
 * none lets nobody in. A certificate is judged first, so that strangers reach no password check.
 */
export class LoginAuthenticator implements Authenticator {
  /** Milliseconds since 1970. */
  readonly #now: () => number;
  readonly #local: LocalProvider;
  readonly #onFault: (fault: LoginFault) => void;
  #mutual = false;
  #userLogin = false;
  #revocation = new RevocationCheck({ kind: 'None' });

  constructor(options: {
    readonly now: () => number;
    readonly local: LocalProvider;
    readonly onFault: (fault: LoginFault) => void;
  }) {
    this.#now = options.now;
    this.#local = options.local;
    this.#onFault = options.onFault;
  }

  reconfigure(config: DataPlaneConfig): void {
    const { mutual, identityProvider } = config.snapshot.authentication;
    this.#mutual = mutual;
    this.#userLogin = identityProvider !== null;
    this.#revocation = new RevocationCheck(config.secrets.revocation);
    this.#local.setUsers(config.secrets.localUsers?.users ?? [], identityProvider?.mfa ? 'totp' : 'none');
  }

  async authenticate(request: AuthenticationRequest, { signal }: Pick<LoginDialogue, 'signal'>): Promise<PlainVerdict> {
    try {
      return await this.#judge(request, signal);
    } catch (error) {
      if (signal.aborted) return denial('cancelled', '');
      this.#onFault(loginFaultOf(error, request));
      return denial('internal-error', 'server error, try again');
    }
  }

  async #judge(request: AuthenticationRequest, signal: AbortSignal): Promise<PlainVerdict> {
    signal.throwIfAborted();
    if (!this.#mutual && !this.#userLogin) return denial('authentication-not-configured', 'server not ready');
    let certificate: CertificateIdentity | null = null;
    if (this.#mutual) {
      const check = checkCertificate(request.certificate, this.#now());
      if (!check.ok) return certificateDenial(check.reason);
      const refusal = this.#revocation.reasonToRefuse(check.identity, request.purpose, this.#now());
      if (refusal !== null) return certificateDenial(refusal);
      certificate = check.identity;
    }
    const fromCertificate = {
      commonName: certificate?.commonName ?? '',
      certificateFingerprints: certificate?.fingerprints ?? [],
      certificateSerial: certificate?.leaf ?? null,
    };
    if (!this.#userLogin) {
      const identity = { ...fromCertificate, username: fromCertificate.commonName, groups: [] };
      return { kind: 'granted', identity, authToken: null };
    }
    const certificateFingerprint = certificate?.fingerprints[0] ?? null;
    const login = await this.#local.authenticate({ ...request, certificateFingerprint }, signal);
    if (login.kind === 'denied') return login;
    const identity = { ...fromCertificate, username: request.username, groups: login.groups };
    return { kind: 'granted', identity, authToken: login.authToken };
  }
}
