// SPDX-License-Identifier: Apache-2.0

package tlsservers

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// day is the unit of the periods of certificates.
const day = 24 * time.Hour

// Authority is a certificate authority that lives in memory.
type Authority struct {
	Certificate *x509.Certificate
	key         crypto.Signer
	// between are the certificates from this authority up to the root, without the root.
	between [][]byte
}

// Request is what a certificate should be. Zero fields stand for a good certificate.
type Request struct {
	// Name is the common name.
	Name string
	// Names are the DNS names and addresses that the certificate covers.
	Names []string
	// NotBefore and NotAfter are by default yesterday and a year from now.
	NotBefore, NotAfter time.Time
	// RSA asks for a key of RSA, which the old cipher suites need, and not of ECDSA.
	RSA bool
}

// NewAuthority returns a root authority, valid for ten years.
func NewAuthority(name string) (*Authority, error) {
	return newAuthority(name, nil)
}

// NewIntermediate returns an authority below the given authority. Certificates of the new
// authority come with the chain up to the root.
func (a *Authority) NewIntermediate(name string) (*Authority, error) {
	return newAuthority(name, a)
}

func newAuthority(name string, parent *Authority) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-day),
		NotAfter:              time.Now().Add(3650 * day),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	issuer, signer := template, crypto.Signer(key)
	if parent != nil {
		issuer, signer = parent.Certificate, parent.key
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(encoded)
	if err != nil {
		return nil, err
	}
	authority := &Authority{Certificate: certificate, key: key}
	if parent != nil {
		authority.between = append([][]byte{encoded}, parent.between...)
	}
	return authority, nil
}

// RootPool returns a pool with the certificate of the authority.
func (a *Authority) RootPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return pool
}

// EncodePEM returns the certificate of the authority, as a cluster publishes it.
func (a *Authority) EncodePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})
}

// IssueCertificate returns a new key with a certificate for servers and clients.
func (a *Authority) IssueCertificate(r Request) (tls.Certificate, error) {
	key, err := newKey(r.RSA)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: cmp.Or(r.Name, "server")},
		NotBefore:    r.NotBefore,
		NotAfter:     r.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-day)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(365 * day)
	}
	for _, name := range r.Names {
		if address := net.ParseIP(name); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: append([][]byte{encoded}, a.between...), PrivateKey: key}, nil
}

func newKey(wantRSA bool) (crypto.Signer, error) {
	if wantRSA {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func newSerial() *big.Int {
	const bits = 127
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), bits))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return serial
}
