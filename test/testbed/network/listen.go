// SPDX-License-Identifier: Apache-2.0

package network

import (
	"io"
	"net"
	"strconv"
	"sync"
)

// Protocol is the protocol of a flow.
type Protocol string

// The protocols.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	ICMP Protocol = "icmp" // ICMPv6 to an IPv6 address
)

// Listen answers on all addresses of the machine, of both families, until the returned
// listener or the network is closed. Received data is returned to the sender.
func (m *Machine) Listen(protocol Protocol, port uint16) (io.Closer, error) {
	return m.ListenOn(protocol, "", port)
}

// ListenOn listens on one address only, such as 127.0.0.1.
func (m *Machine) ListenOn(protocol Protocol, address string, port uint16) (io.Closer, error) {
	endpoint := net.JoinHostPort(address, strconv.Itoa(int(port)))
	if protocol == UDP {
		return m.listenUDP(endpoint)
	}
	return m.Serve(endpoint, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
}

func (m *Machine) listenUDP(endpoint string) (io.Closer, error) {
	var packets net.PacketConn
	err := m.namespace.do(func() (err error) {
		packets, err = net.ListenPacket("udp", endpoint)
		return err
	})
	if err != nil {
		return nil, err
	}
	m.addListener(packets)
	go echoPackets(packets)
	return packets, nil
}

func echoPackets(packets net.PacketConn) {
	buffer := make([]byte, 1500)
	for {
		size, from, err := packets.ReadFrom(buffer)
		if err != nil {
			return
		}
		_, _ = packets.WriteTo(buffer[:size], from) // tests are about lost answers
	}
}

// Serve accepts TCP connections on the machine, and handles each connection in a separate
// goroutine. Closing the listener closes the connections too.
func (m *Machine) Serve(endpoint string, handle func(net.Conn)) (io.Closer, error) {
	s := &server{handle: handle, open: map[net.Conn]struct{}{}}
	err := m.namespace.do(func() (err error) {
		s.listener, err = net.Listen("tcp", endpoint)
		return err
	})
	if err != nil {
		return nil, err
	}
	m.addListener(s)
	go s.acceptAll()
	return s, nil
}

func (m *Machine) addListener(listener io.Closer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listeners = append(m.listeners, listener)
}

// server is a TCP listener with a list of its connections.
type server struct {
	listener net.Listener
	handle   func(net.Conn)

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
}

func (s *server) acceptAll() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		if s.keepOpen(conn) {
			go s.handleOne(conn)
		}
	}
}

// keepOpen returns false when the server was closed meanwhile.
func (s *server) keepOpen(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return false
	}
	s.open[conn] = struct{}{}
	return true
}

func (s *server) handleOne(conn net.Conn) {
	s.handle(conn)
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, conn)
}

// Close stops listening, and closes the connections.
func (s *server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.open {
		_ = conn.Close()
	}
	return s.listener.Close()
}
