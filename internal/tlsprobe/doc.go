// SPDX-License-Identifier: Apache-2.0

// Package tlsprobe finds facts about TLS ports: the versions, weak cipher suites and client
// certificates that a server asks for or accepts, the certificates that the server
// presents, and whether the server answers without TLS. The package knows nothing of
// Kubernetes, has no state, and decides nothing: package posture judges the facts.
//
// # Data sent by a probe
//
// A probe opens a few connections to a target, one after the other, and sends only a
// ClientHello and the messages that finish the handshake, and on one connection a single
// GET request without TLS. The probe never has a client certificate.
//
// # Trust
//
// A probe trusts no server. A connection ends after Limits.Connection and after
// Limits.Bytes, a target after Limits.Target. Texts of servers are cut, and hidden
// characters are escaped. An answer that was not clear is unknown in the facts, and never
// "not accepted".
//
// # Limits of crypto/tls
//
// The probe can offer only the features of Go's crypto/tls, so an answer "not accepted"
// means "not accepted with any offer of crypto/tls":
//   - Versions: TLS 1.0 to 1.3. SSL 2 and SSL 3 cannot be offered. A server of SSL 3 alone
//     has no accepted version.
//   - Cipher suites: tls.CipherSuites and tls.InsecureCipherSuites, with key exchange by
//     ECDHE and RSA with RC4, 3DES, AES and ChaCha20. Suites with DHE, static DH, PSK,
//     Camellia, ARIA, CCM, DES, NULL, anonymous or export grade cannot be offered, and are
//     not found. A server that accepts only such suites, in all versions or in old
//     versions, appears to refuse the versions. None of the components of Kubernetes (all
//     written in Go) can accept such a suite.
//   - Cipher suites are offered with the server's highest version up to TLS 1.2. A suite
//     that a server accepts only in a lower version is not found.
//   - The suites of TLS 1.3 cannot be chosen. All of them count as strong.
//   - TLS_ECDHE_*_WITH_AES_*_CBC_SHA count as strong here, as in crypto/tls: the API server
//     and etcd accept these suites by default. Prober.WeakCipherSuites can add them.
//   - A client certificate demanded only after the handshake (renegotiation in TLS 1.2,
//     post-handshake authentication in TLS 1.3) is not seen.
//   - In a program in FIPS mode (GODEBUG=fips140=on or only), crypto/tls offers neither old
//     versions nor weak suites, so neither is found.
package tlsprobe
