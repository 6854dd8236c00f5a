// SPDX-License-Identifier: Apache-2.0

package testbed

import "net"

// FreeAddress returns an address of loopback, with a port, on which nothing listens.
func FreeAddress() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // without loopback, no test can run
	}
	defer listener.Close()
	return listener.Addr().String()
}
