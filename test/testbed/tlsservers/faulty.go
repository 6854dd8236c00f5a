// SPDX-License-Identifier: Apache-2.0

package tlsservers

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"
)

// Fault is what is wrong with a server.
type Fault string

// The faults. Where possible, a server with a fault has no other fault.
const (
	// NoFault servers are like a good etcd: TLS 1.2 and 1.3, a certificate that covers the
	// address, and a required client certificate.
	NoFault Fault = "None"
	// NoClientCertificates servers are like an etcd without --client-cert-auth.
	NoClientCertificates Fault = "NoClientCertificates"
	// OldVersion servers are like a kubelet that speaks TLS 1.0 and 1.1 only.
	OldVersion Fault = "OldVersion"
	// WeakCipherSuite servers accept 3DES, beside good suites.
	WeakCipherSuite Fault = "WeakCipherSuite"
	// ExpiresTomorrow servers have a certificate that expires in 23 hours.
	ExpiresTomorrow Fault = "ExpiresTomorrow"
	// Expired servers have a certificate that expired an hour ago.
	Expired Fault = "Expired"
	// OtherName servers have a certificate that covers another address and name.
	OtherName Fault = "OtherName"
	// OtherAuthority servers have a certificate of an unknown authority.
	OtherAuthority Fault = "OtherAuthority"
	// PlaintextPort servers speak HTTP, and no TLS.
	PlaintextPort Fault = "PlaintextPort"
	// HalfOpen servers take connections, and never answer.
	HalfOpen Fault = "HalfOpen"
	// GarbageBytes servers send meaningless bytes without an end.
	GarbageBytes Fault = "GarbageBytes"
)

// StartFaulty starts a server with a fault. The certificate, by the authority, covers the
// host of the address and the further names, unless the fault is in the names.
func StartFaulty(address string, authority *Authority, fault Fault, names ...string) (*Server, error) {
	switch fault {
	case PlaintextPort:
		return StartHTTP(address, nil)
	case HalfOpen:
		return StartServer(address, ReadForever)
	case GarbageBytes:
		return StartServer(address, SendGarbage)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	config, err := faultyConfig(authority, fault, append([]string{host}, names...))
	if err != nil {
		return nil, fmt.Errorf("prepare a server with fault %s: %w", fault, err)
	}
	return StartHTTP(address, config)
}

// ReadForever reads until the connection ends, and never answers.
func ReadForever(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// SendGarbage sends bytes until the connection ends.
func SendGarbage(conn net.Conn) {
	garbage := make([]byte, 4<<10)
	for i := range garbage {
		garbage[i] = byte(0x80 | i)
	}
	for {
		if _, err := conn.Write(garbage); err != nil {
			return
		}
	}
}

// faultyConfig returns the configuration of a server that speaks TLS.
func faultyConfig(authority *Authority, fault Fault, names []string) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs:  authority.RootPool(),
	}
	request := Request{Name: "server", Names: names}
	issuer := authority
	switch fault {
	case NoFault:
	case NoClientCertificates:
		config.ClientAuth = tls.NoClientCert
	case OldVersion:
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	case WeakCipherSuite:
		request.RSA = true
		config.CipherSuites = []uint16{
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA,
		}
	case ExpiresTomorrow:
		request.NotAfter = time.Now().Add(23 * time.Hour)
	case Expired:
		request.NotAfter = time.Now().Add(-time.Hour)
	case OtherName:
		request.Names = []string{"192.0.2.77", "other.example"}
	case OtherAuthority:
		stranger, err := NewAuthority("unknown CA")
		if err != nil {
			return nil, err
		}
		issuer = stranger
	default:
		return nil, fmt.Errorf("fault %q is not known", fault)
	}
	certificate, err := issuer.IssueCertificate(request)
	if err != nil {
		return nil, err
	}
	config.Certificates = []tls.Certificate{certificate}
	return config, nil
}
