// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// DialContext connects from the machine by TCP, to a literal address with a port, as an
// [http.Transport] requires. Several calls may run at once.
func (m *Machine) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	d := &dial{protocol: TCP, to: to, timeout: DialTimeout}
	if deadline, limited := ctx.Deadline(); limited {
		d.timeout = max(time.Until(deadline), time.Millisecond)
	}
	var socket int
	err = m.namespace.do(func() (err error) {
		socket, err = d.openSocket()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("socket on %s: %w", m.Name, err)
	}
	file := os.NewFile(uintptr(socket), address)
	defer func() { _ = file.Close() }() // the connection has a copy
	switch err := d.tryOnce(socket); {
	case errors.Is(err, syscall.EINPROGRESS), errors.Is(err, syscall.EALREADY), errors.Is(err, syscall.EAGAIN):
		return nil, os.ErrDeadlineExceeded
	case err != nil:
		return nil, err
	}
	return net.FileConn(file)
}
