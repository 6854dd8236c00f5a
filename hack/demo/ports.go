// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net"
)

// twoFreePorts returns two ports of loopback without a listener.
func twoFreePorts() (first, second int, err error) {
	a, errA := net.Listen("tcp", "127.0.0.1:0")
	b, errB := net.Listen("tcp", "127.0.0.1:0")
	if err := errors.Join(errA, errB); err != nil {
		return 0, 0, err
	}
	defer func() { _, _ = a.Close(), b.Close() }()
	return a.Addr().(*net.TCPAddr).Port, b.Addr().(*net.TCPAddr).Port, nil
}
