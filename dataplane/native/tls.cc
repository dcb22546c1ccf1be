// The server side of TLS in memory: bytes in, bytes out. All that reads what strangers send is OpenSSL.
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>

#include "addon.h"

namespace {

constexpr char kCiphersOfTls13[] = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
constexpr char kCiphers[] =
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr char kGroups[] = "X25519:P-256:P-384";
constexpr const char* kExportLabels[] = {"EXPORTER-OpenVPN-datakeys", "EXPORTER-OpenVPN-dynamic-tls-crypt"};
constexpr int kChainMost = 10, kUnknownKeyBitsMost = 4096;
constexpr long kCertificatesMost = 32768;  // bytes: parsed they take twenty times as many, before anybody is known
constexpr size_t kIdleBytes = 1024;  // what an empty BIO may keep for the next record
enum State : int64_t { kMore = 0, kHandshakeDone = -1, kClosed = -2, kFailed = -3 };  // TlsState of native-addon.ts

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
struct FreeCertificate {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using CertificatePointer = std::unique_ptr<X509, FreeCertificate>;

std::unique_ptr<BIO, FreeBio> reading(const Bytes& pem) {
  return std::unique_ptr<BIO, FreeBio>(BIO_new_mem_buf(pem.data, static_cast<int>(pem.size)));
}

// An encrypted key has no passphrase here; without this OpenSSL would ask the terminal.
int noPassphrase(char*, int, int, void*) { return -1; }

CertificatePointer nextCertificate(BIO* pem) {
  return CertificatePointer(PEM_read_bio_X509(pem, nullptr, noPassphrase, nullptr));
}

// Whether the reading of certificates ended because there was no other one, not at a bad one.
bool endedWell() {
  const unsigned long error = ERR_peek_last_error();
  const bool noMore = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  if (noMore) ERR_clear_error();
  return noMore;
}

bool useCertificates(SSL_CTX* context, const Bytes& pem) {
  const auto bio = reading(pem);
  CertificatePointer certificate = nextCertificate(bio.get());
  if (!certificate || SSL_CTX_use_certificate(context, certificate.get()) != 1) return false;
  while ((certificate = nextCertificate(bio.get())))
    if (SSL_CTX_add1_chain_cert(context, certificate.get()) != 1) return false;
  return endedWell();
}

bool useKey(SSL_CTX* context, const Bytes& pem) {
  const auto bio = reading(pem);
  const std::unique_ptr<EVP_PKEY, FreeKey> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, noPassphrase, nullptr));
  return key && SSL_CTX_use_PrivateKey(context, key.get()) == 1 && SSL_CTX_check_private_key(context) == 1;
}

bool useAuthorities(SSL_CTX* context, const Bytes& pem) {
  const auto bio = reading(pem);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  int count = 0;
  CertificatePointer authority;
  for (; (authority = nextCertificate(bio.get())); count++) {
    if (X509_STORE_add_cert(store, authority.get()) != 1) return false;
    if (SSL_CTX_add_client_CA(context, authority.get()) != 1) return false;
  }
  return endedWell() && count > 0;
}

// Whether it costs little to check the signature of a handshake by a key that nobody vouches for. An RSA exponent as long as
// the modulus, which OpenSSL refuses from 3,072 bits up only, takes as much as fifteen handshakes.
bool isCheap(X509* certificate) {
  const EVP_PKEY* key = certificate != nullptr ? X509_get0_pubkey(certificate) : nullptr;
  if (key == nullptr || EVP_PKEY_get_bits(key) > kUnknownKeyBitsMost) return false;
  if (EVP_PKEY_is_a(key, "RSA") != 1 && EVP_PKEY_is_a(key, "RSA-PSS") != 1) return true;
  BIGNUM* exponent = nullptr;
  const bool isShort = EVP_PKEY_get_bn_param(key, "e", &exponent) == 1 && BN_num_bits(exponent) <= 64;
  BN_free(exponent);
  return isShort;
}

// The verdict is read after the handshake, so that the client can be told. Where the first fault ends the verification,
// no signature is looked at below an unknown authority: a stranger's hundred certificates took half a second.
int verify(X509_STORE_CTX* store, void*) {
  if (X509_verify_cert(store) == 1) return 1;
  return X509_STORE_CTX_get_error(store) != X509_V_OK && isCheap(X509_STORE_CTX_get0_cert(store));
}

bool configure(SSL_CTX* context) {
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_NO_RX_CERTIFICATE_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                   SSL_OP_CLEANSE_PLAINTEXT);
  SSL_CTX_set_max_cert_list(context, kCertificatesMost);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  return SSL_CTX_set_num_tickets(context, 0) == 1 && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
         SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 && SSL_CTX_set_cipher_list(context, kCiphers) == 1 &&
         SSL_CTX_set_ciphersuites(context, kCiphersOfTls13) == 1 && SSL_CTX_set1_groups_list(context, kGroups) == 1;
}

std::string lastError() {
  const char* reason = ERR_reason_error_string(ERR_peek_error());
  ERR_clear_error();
  return reason != nullptr ? reason : "tls error";
}

// What an operation that gave nothing waits for, or how the connection ended.
int64_t stateAfter(Tls* tls, int result) {
  const int error = SSL_get_error(tls->ssl, result);
  if (error == SSL_ERROR_WANT_READ) return kMore;
  if (error == SSL_ERROR_ZERO_RETURN) return kClosed;
  tls->reason = lastError();
  return kFailed;
}

// What the first argument names of `all`; OpenSSL's queue of errors is its own from here on.
template <typename T>
auto named(Call& call, const std::vector<T>& all) -> decltype(all[0].get()) {
  const int32_t handle = call.integer(0);
  if (call.failed()) return nullptr;
  ERR_clear_error();
  if (handle >= 0 && static_cast<size_t>(handle) < all.size() && all[handle]) return all[handle].get();
  call.rangeError("No such TLS connection or context");
  return nullptr;
}

Tls* connectionOf(Call& call) { return named(call, call.instance->tls.connections); }
SSL_CTX* contextOf(Call& call) { return named(call, call.instance->tlsContexts); }

// Drained, a BIO keeps the memory of the largest flight it ever held.
void shrink(BIO* bio) {
  BUF_MEM *used = nullptr, *fresh = nullptr;
  BIO_get_mem_ptr(bio, &used);
  if (used != nullptr && used->max > kIdleBytes && BIO_ctrl_pending(bio) == 0 && (fresh = BUF_MEM_new()) != nullptr)
    BIO_set_mem_buf(bio, fresh, BIO_CLOSE);
}

// Gives back what the next message will take anew: 34 KB of buffers. While a handshake lasts they are kept, since each of
// its flights would take and free them.
void rest(SSL* ssl) {
  // OpenSSL 3.5 would wipe a buffer that it has given back already, at address 0. What was in it is wiped.
  SSL_clear_options(ssl, SSL_OP_CLEANSE_PLAINTEXT);
  SSL_set_options(ssl, 0);  // tells its record layer
  SSL_free_buffers(ssl);
  SSL_set_options(ssl, SSL_OP_CLEANSE_PLAINTEXT);
  shrink(SSL_get_rbio(ssl));
  shrink(SSL_get_wbio(ssl));
}

// The name that OpenSSL's documentation has for what a certificate was refused for.
const char* verdictName(long verdict) {
  switch (verdict) {
#define X(name) \
  case X509_V_ERR_##name: return #name;
    X(CERT_HAS_EXPIRED) X(CERT_NOT_YET_VALID) X(INVALID_PURPOSE) X(EE_KEY_TOO_SMALL) X(CA_KEY_TOO_SMALL) X(CA_MD_TOO_WEAK)
    X(UNABLE_TO_GET_ISSUER_CERT) X(UNABLE_TO_GET_ISSUER_CERT_LOCALLY) X(UNABLE_TO_VERIFY_LEAF_SIGNATURE)
    X(DEPTH_ZERO_SELF_SIGNED_CERT) X(SELF_SIGNED_CERT_IN_CHAIN) X(CERT_SIGNATURE_FAILURE)
#undef X
    default: return X509_verify_cert_error_string(verdict);
  }
}

napi_value text(Call& call, const char* value) {
  napi_value made = nullptr;
  napi_create_string_utf8(call.env, value, NAPI_AUTO_LENGTH, &made);
  return made;
}

napi_value derOf(Call& call, X509* certificate) {
  napi_value buffer = nullptr, array = nullptr;
  void* data = nullptr;
  const int size = i2d_X509(certificate, nullptr);
  if (size <= 0 || napi_create_arraybuffer(call.env, static_cast<size_t>(size), &data, &buffer) != napi_ok) return nullptr;
  auto* end = static_cast<uint8_t*>(data);
  i2d_X509(certificate, &end);
  napi_create_typedarray(call.env, napi_uint8_array, static_cast<size_t>(size), buffer, 0, &array);
  return array;
}

}  // namespace

Tls::~Tls() { SSL_free(ssl); }
void FreeTlsContext::operator()(SSL_CTX* context) const { SSL_CTX_free(context); }

// (certificates as PEM, key as PEM, authorities as PEM or nothing)
int64_t exported::tlsContext(Call& call) {
  const Bytes certificates = call.bytes(0), key = call.bytes(1), authorities = call.bytes(2);
  if (call.failed()) return 0;
  ERR_clear_error();
  std::unique_ptr<SSL_CTX, FreeTlsContext> context(SSL_CTX_new(TLS_server_method()));
  SSL_CTX* made = context.get();
  const char* what = nullptr;
  if (made == nullptr || !configure(made)) what = "settings";
  else if (!useCertificates(made, certificates)) what = "server certificate";
  else if (!useKey(made, key)) what = "key of the server certificate";
  else if (authorities.size > 0 && !useAuthorities(made, authorities)) what = "client CA";
  if (what != nullptr) return call.error(std::string("TLS does not take the ") + what + ": " + lastError());
  if (authorities.size > 0) SSL_CTX_set_verify(made, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(made, verify, nullptr);
  auto& all = call.instance->tlsContexts;
  const auto free = std::find(all.begin(), all.end(), nullptr);
  if (free == all.end()) return all.push_back(std::move(context)), static_cast<int64_t>(all.size()) - 1;
  *free = std::move(context);
  return free - all.begin();
}

// Connections that were opened with it keep it.
int64_t exported::tlsContextFree(Call& call) {
  SSL_CTX* context = contextOf(call);
  if (context != nullptr) call.instance->tlsContexts[static_cast<size_t>(call.integer(0))].reset();
  return 0;
}

int64_t exported::tlsOpen(Call& call) {
  SSL_CTX* context = contextOf(call);
  if (context == nullptr) return 0;
  auto tls = std::make_unique<Tls>();
  BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
  tls->ssl = SSL_new(context);
  if (in == nullptr || out == nullptr || tls->ssl == nullptr) {
    BIO_free(in);
    BIO_free(out);
    return call.error("TLS connection: " + lastError());
  }
  SSL_set_bio(tls->ssl, in, out);
  SSL_set_accept_state(tls->ssl);
  auto& [all, unused] = call.instance->tls;
  if (unused.empty()) unused.push_back(static_cast<int32_t>(all.size())), all.emplace_back();
  const int32_t handle = unused.back();
  unused.pop_back();
  all[handle] = std::move(tls);
  return handle;
}

int64_t exported::tlsClose(Call& call) {
  if (connectionOf(call) == nullptr) return 0;
  const int32_t handle = call.integer(0);
  call.instance->tls.connections[handle].reset();
  call.instance->tls.unused.push_back(handle);
  return 0;
}

int64_t exported::tlsReceive(Call& call) {
  Tls* tls = connectionOf(call);
  const Bytes bytes = call.bytes(1, 1);
  if (call.failed() || bytes.size > INT32_MAX) return 0;
  return BIO_write(SSL_get_rbio(tls->ssl), bytes.data, static_cast<int>(bytes.size));
}

int64_t exported::tlsRead(Call& call) {
  Tls* tls = connectionOf(call);
  const Bytes out = call.bytes(1, 1);
  if (call.failed()) return 0;
  if (!tls->ready) {
    const int done = SSL_do_handshake(tls->ssl);
    tls->ready = done == 1;
    return tls->ready ? kHandshakeDone : stateAfter(tls, done);
  }
  const int count = SSL_read(tls->ssl, out.data, static_cast<int>(std::min<size_t>(out.size, INT32_MAX)));
  return count > 0 ? count : stateAfter(tls, count);
}

int64_t exported::tlsWrite(Call& call) {
  Tls* tls = connectionOf(call);
  const Bytes bytes = call.bytes(1, 1);
  if (call.failed()) return 0;
  if (!tls->ready || bytes.size > SSL3_RT_MAX_PLAIN_LENGTH)
    return call.rangeError("Written before the handshake, or more than a record");
  const int count = SSL_write(tls->ssl, bytes.data, static_cast<int>(bytes.size));
  return count > 0 ? count : stateAfter(tls, count);
}

int64_t exported::tlsTake(Call& call) {
  Tls* tls = connectionOf(call);
  const Bytes out = call.bytes(1, 1);
  if (call.failed()) return 0;
  const int size = static_cast<int>(std::min<size_t>(out.size, INT32_MAX));
  const int count = std::max(BIO_read(SSL_get_wbio(tls->ssl), out.data, size), 0);
  if (count == 0 && tls->ready) rest(tls->ssl);
  return count;
}

// @returns [version, why the certificate was refused or an empty string, whether resumed, leaf, its issuer, …]
int64_t exported::tlsPeer(Call& call) {
  Tls* tls = connectionOf(call);
  if (tls == nullptr) return 0;
  if (!tls->ready) return call.rangeError("Asked before the handshake");
  const long verdict = SSL_get_verify_result(tls->ssl);
  uint32_t index = 0;
  const auto push = [&](napi_value value) { napi_set_element(call.env, call.object, index++, value); };
  napi_create_array(call.env, &call.object);
  push(text(call, SSL_get_version(tls->ssl)));
  push(text(call, verdict == X509_V_OK ? "" : verdictName(verdict)));
  napi_value resumed = nullptr;
  napi_get_boolean(call.env, SSL_session_reused(tls->ssl) == 1, &resumed);
  push(resumed);
  const STACK_OF(X509)* chain = SSL_get0_verified_chain(tls->ssl);
  for (int i = 0; i < std::min(sk_X509_num(chain), kChainMost); i++) push(derOf(call, sk_X509_value(chain, i)));
  return 0;
}

// Without a context: an empty one gives other bytes under TLS 1.2.
int64_t exported::tlsExport(Call& call) {
  Tls* tls = connectionOf(call);
  const int32_t label = call.integer(1);
  const Bytes out = call.bytes(2, 1);
  if (call.failed()) return 0;
  if (!tls->ready || label < 0 || label > 1) return call.rangeError("Exported before the handshake, or by an unknown label");
  const char* name = kExportLabels[label];
  const bool done = SSL_export_keying_material(tls->ssl, out.data, out.size, name, strlen(name), nullptr, 0, 0) == 1;
  return done ? 0 : call.error("TLS export: " + lastError());
}

int64_t exported::tlsReason(Call& call) {
  const Tls* tls = connectionOf(call);
  if (tls != nullptr) call.object = text(call, tls->reason.c_str());
  return 0;
}
