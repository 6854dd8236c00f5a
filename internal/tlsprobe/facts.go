// SPDX-License-Identifier: Apache-2.0

package tlsprobe

import "time"

// Outcome is what a port did on the first connections.
type Outcome string

// The outcomes of a probe. With the first four, a connection was opened.
const (
	// Open ports speak TLS: a part of a handshake or a TLS alert was received.
	Open Outcome = "Open"
	// PlaintextOnly ports speak HTTP without TLS, and no TLS.
	PlaintextOnly Outcome = "PlaintextOnly"
	// Garbage ports send bytes that are neither TLS nor HTTP.
	Garbage Outcome = "Garbage"
	// Silent ports send nothing: the connection is closed, reset or left without an answer.
	Silent Outcome = "Silent"
	// Refused ports answer that no program listens.
	Refused Outcome = "Refused"
	// Dropped ports do not answer at all.
	Dropped Outcome = "Dropped"
	// Unreachable ports cannot be tried from here, for example because there is no route.
	Unreachable Outcome = "Unreachable"
	// NotFinished ports were not tried to the end, because the caller's context or the time
	// of the target ended first. Nothing is known about the port.
	NotFinished Outcome = "NotFinished"
)

// Plaintext tells whether a port answers HTTP without TLS.
type Plaintext string

// The answers to a request without TLS.
const (
	// PlaintextUnknown is the answer where the port could not be asked, or did not answer in
	// time, or answered neither HTTP nor TLS.
	PlaintextUnknown Plaintext = ""
	// PlaintextAnswered is an answer in HTTP.
	PlaintextAnswered Plaintext = "Answered"
	// PlaintextNotAnswered is a TLS alert, a closed connection, or an HTTP answer that the
	// port wants TLS.
	PlaintextNotAnswered Plaintext = "NotAnswered"
)

// ClientCertificate tells whether a server wants a certificate of the client.
type ClientCertificate string

// The demands for a client certificate.
const (
	ClientCertificateUnknown ClientCertificate = ""
	// ClientCertificateRequired servers refuse a client without a certificate.
	ClientCertificateRequired ClientCertificate = "Required"
	// ClientCertificateRequested servers ask for a certificate, and take a client without.
	ClientCertificateRequested ClientCertificate = "Requested"
	// ClientCertificateNotRequested servers do not ask.
	ClientCertificateNotRequested ClientCertificate = "NotRequested"
)

// Trust tells whether a chain of certificates ends in the roots of the prober. Neither
// the time nor names matter: an expired certificate may be trusted.
type Trust string

// The values of Trust.
const (
	// TrustUnknown is the value where no roots are known, no certificate was seen, or the
	// server did not prove to have the key of the certificate.
	TrustUnknown Trust = ""
	Trusted      Trust = "Trusted"
	NotTrusted   Trust = "NotTrusted"
)

// Facts are the results of a probe of one target. The zero value of a fact means unknown.
// Texts are bounded, printable, and of one line.
type Facts struct {
	Outcome Outcome
	// Problem says what happened where the facts alone do not; empty if all is clear.
	Problem string
	// Plaintext tells whether the port answers without TLS. A port that speaks TLS may do so
	// too.
	Plaintext Plaintext

	// LowestVersion and HighestVersion of TLS that the server accepts, as in crypto/tls; 0 if
	// no version is known to be accepted.
	LowestVersion, HighestVersion uint16
	// UnknownVersions are the versions for which the probe had no clear answer, sorted.
	// Versions neither here nor accepted are refused.
	UnknownVersions []uint16
	// WeakCipherSuites are the suites of Prober.WeakCipherSuites that the server accepts,
	// sorted.
	WeakCipherSuites []uint16
	// CipherSuitesUnknown tells that WeakCipherSuites may lack some, because an attempt had no
	// clear result.
	CipherSuitesUnknown bool

	// ClientCertificate is the weakest demand in any version of TLS.
	ClientCertificate ClientCertificate
	// Certificates that the server presents, the server's own first. Empty if none was seen:
	// then UncoveredNames and Trust are unknown.
	Certificates []Certificate
	// UncoveredNames are the names of the target that the first certificate does not cover.
	UncoveredNames []string
	Trust          Trust

	// Connect and Handshake are the durations of the first connection; 0 if unknown.
	Connect, Handshake time.Duration
	// Connections is the number of opened connections.
	Connections int
}

// Certificate is a certificate that a server presented.
type Certificate struct {
	Subject, Issuer string
	// Serial is the serial number in hexadecimal digits.
	Serial              string
	NotBefore, NotAfter time.Time
	IsCA                bool
	// Names are the first Limits.Names of the DNS names and addresses that the certificate
	// covers.
	Names []string
}
