// SPDX-License-Identifier: Apache-2.0

package tlsprobe_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

// serverVariable makes the test binary a server, configured by its standard input, which
// also ends the server.
const serverVariable = "CPNP_TLSPROBE_SERVER"

// serverSettings is the configuration of a server in another process.
type serverSettings struct {
	MinVersion uint16
	ClientAuth tls.ClientAuthType
	Chain      [][]byte
	Key        []byte
}

func TestMain(m *testing.M) {
	if os.Getenv(serverVariable) != "" {
		if err := runServer(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runServer serves until the input ends.
func runServer(input io.Reader, output io.Writer) error {
	var settings serverSettings
	decoder := json.NewDecoder(input)
	if err := decoder.Decode(&settings); err != nil {
		return err
	}
	key, err := x509.ParsePKCS8PrivateKey(settings.Key)
	if err != nil {
		return err
	}
	server, err := tlsservers.StartHTTP(loopback, &tls.Config{
		MinVersion: settings.MinVersion, ClientAuth: settings.ClientAuth,
		Certificates: []tls.Certificate{{Certificate: settings.Chain, PrivateKey: key}},
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(output, server.Address()); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, input)
	return server.Close()
}

// startServerProcess starts a web server in a process of its own, which ends with the test.
func startServerProcess(t testing.TB, config *tls.Config) netip.AddrPort {
	t.Helper()
	require := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := x509.MarshalPKCS8PrivateKey(config.Certificates[0].PrivateKey)
	require(err)
	program, err := os.Executable()
	require(err)
	command := exec.Command(program)
	command.Env = append(os.Environ(), serverVariable+"=1")
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	require(err)
	output, err := command.StdoutPipe()
	require(err)
	require(command.Start())
	t.Cleanup(func() {
		_ = input.Close()
		_ = command.Wait()
	})
	require(json.NewEncoder(input).Encode(serverSettings{
		MinVersion: config.MinVersion, ClientAuth: config.ClientAuth, Chain: config.Certificates[0].Certificate, Key: key,
	}))
	line, err := bufio.NewReader(output).ReadString('\n')
	require(err)
	address, err := netip.ParseAddrPort(strings.TrimSpace(line))
	require(err)
	return address
}
