// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// DialTimeout is how long [Machine.Dial] waits before it calls a flow dropped.
// No packet leaves the kernel: where nothing is in the way, an answer takes
// well under a millisecond.
const DialTimeout = 500 * time.Millisecond

// Verdict is what became of a flow.
type Verdict string

// The verdicts. They are not the same: who is refused has got through.
const (
	Open    Verdict = "Open"    // connected; or, without connections, answered
	Refused Verdict = "Refused" // nobody listens, and the machine said so
	Dropped Verdict = "Dropped" // no answer
)

// DialOption changes how [Machine.Dial] dials.
type DialOption func(*dial)

// From sets the source address, which otherwise the route decides.
func From(address netip.Addr) DialOption {
	return func(d *dial) { d.from = address }
}

// Within replaces DialTimeout.
func Within(timeout time.Duration) DialOption {
	return func(d *dial) { d.timeout = timeout }
}

// Dial opens a new flow from the machine, from a new port: established ones
// survive a new policy. The error is for what is no verdict, such as a missing
// route. ICMP is an echo request, whose port means nothing. UDP is open when
// [Machine.Listen] answers, which is this process and so may need time.
//
// To TCP and ICMP the kernel answers, and the kernel keeps the time: on a busy
// machine this process may be late, but an answer does not become none.
func (m *Machine) Dial(protocol Protocol, to netip.AddrPort, options ...DialOption) (Verdict, error) {
	d := &dial{protocol: protocol, to: to, timeout: DialTimeout}
	for _, option := range options {
		option(d)
	}
	var socket int
	err := m.namespace.do(func() (err error) {
		socket, err = d.socket()
		return err
	})
	if err != nil {
		return "", fmt.Errorf("socket on %s: %w", m.Name, err)
	}
	defer func() { _ = syscall.Close(socket) }()
	return d.verdict(m.Name, d.try(socket))
}

type dial struct {
	protocol Protocol
	from     netip.Addr
	to       netip.AddrPort
	timeout  time.Duration
}

// socket makes a blocking socket, whose calls give up after the timeout.
func (d *dial) socket() (int, error) {
	kind, protocol := syscall.SOCK_DGRAM, 0
	switch {
	case d.protocol == TCP:
		kind = syscall.SOCK_STREAM
	case d.protocol == ICMP && d.to.Addr().Is4():
		protocol = syscall.IPPROTO_ICMP
	case d.protocol == ICMP:
		protocol = syscall.IPPROTO_ICMPV6
	}
	family := syscall.AF_INET6
	if d.to.Addr().Is4() {
		family = syscall.AF_INET
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	socket, err := syscall.Socket(family, kind, protocol)
	if err == nil {
		syscall.CloseOnExec(socket)
	}
	return socket, err
}

// try returns nil for an answer.
func (d *dial) try(socket int) error {
	limit := syscall.NsecToTimeval(d.timeout.Nanoseconds())
	err := errors.Join(
		syscall.SetsockoptTimeval(socket, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &limit),
		syscall.SetsockoptTimeval(socket, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit),
		// Close with a reset, which leaves no state that a later flow could meet.
		syscall.SetsockoptLinger(socket, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1}))
	if err != nil {
		return err
	}
	if d.from.IsValid() {
		if err := syscall.Bind(socket, sockaddr(netip.AddrPortFrom(d.from, 0))); err != nil {
			return fmt.Errorf("bind to %s: %w", d.from, err)
		}
	}
	err = uninterrupted(func() error { return syscall.Connect(socket, sockaddr(d.to)) })
	if err != nil || d.protocol == TCP {
		return err
	}
	return exchange(socket, d.message())
}

// message is something to be answered. Of an ICMP echo request the kernel
// fills in identifier and checksum.
func (d *dial) message() []byte {
	const echo4, echo6 = 8, 128
	switch {
	case d.protocol == UDP:
		return []byte("hello")
	case d.to.Addr().Is4():
		return []byte{echo4, 0, 0, 0, 0, 0, 0, 1}
	default:
		return []byte{echo6, 0, 0, 0, 0, 0, 0, 1}
	}
}

func exchange(socket int, message []byte) error {
	if _, err := syscall.Write(socket, message); err != nil {
		return err
	}
	return uninterrupted(func() error {
		_, err := syscall.Read(socket, make([]byte, 1500))
		return err
	})
}

// uninterrupted repeats a call that one of the Go runtime's signals ended:
// the kernel does not restart those that have a timeout. When an interrupted
// connect is repeated, it may turn out to have been done.
func uninterrupted(call func() error) error {
	for {
		switch err := call(); {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EISCONN):
			return nil
		default:
			return err
		}
	}
}

// verdict tells what the answer means. A packet that its own machine's policy
// drops on the way out is EPERM to a datagram and silence to a connection.
func (d *dial) verdict(machine string, err error) (Verdict, error) {
	switch {
	case err == nil:
		return Open, nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused, nil
	case errors.Is(err, syscall.EINPROGRESS), errors.Is(err, syscall.EALREADY),
		errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EPERM):
		return Dropped, nil
	default:
		return "", fmt.Errorf("%s from %s to %s: %w", d.protocol, machine, d.to, err)
	}
}

func sockaddr(to netip.AddrPort) syscall.Sockaddr {
	if to.Addr().Is4() {
		return &syscall.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
	}
	return &syscall.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())}
}
