// SPDX-License-Identifier: Apache-2.0

package tlsservers

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// Server is a running server.
type Server struct {
	listener net.Listener
	handlers sync.WaitGroup
	mutex    sync.Mutex
	open     map[net.Conn]bool // nil after Close
}

// StartServer starts a server that passes each connection to handle, in a separate goroutine,
// and closes the connection when handle returns. address is as in net.Listen; port 0 stands for
// any free port.
func StartServer(address string, handle func(net.Conn)) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &Server{listener: listener, open: map[net.Conn]bool{}}
	s.handlers.Go(func() { s.acceptAll(handle) })
	return s, nil
}

// StartHTTP starts a web server that answers 404 to all requests, with TLS unless config
// is nil.
func StartHTTP(address string, config *tls.Config) (*Server, error) {
	web := &http.Server{
		Handler:  http.NotFoundHandler(),
		ErrorLog: log.New(io.Discard, "", 0),
	}
	return StartServer(address, func(conn net.Conn) { ServeHTTP(web, conn, config) })
}

// ServeHTTP serves one connection of a web server, with TLS unless config is nil, and
// returns when the connection is closed.
func ServeHTTP(web *http.Server, conn net.Conn, config *tls.Config) {
	closed := make(chan struct{})
	var served net.Conn = &watched{Conn: conn, closed: closed}
	if config != nil {
		served = tls.Server(served, config)
	}
	_ = web.Serve(&single{conn: served, closed: closed})
}

// Address returns the address and port of the server.
func (s *Server) Address() netip.AddrPort {
	return s.listener.Addr().(*net.TCPAddr).AddrPort()
}

// Close ends the server with all its connections, and returns when the handlers are done.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.mutex.Lock()
	for conn := range s.open {
		_ = conn.Close()
	}
	s.open = nil
	s.mutex.Unlock()
	s.handlers.Wait()
	return err
}

func (s *Server) acceptAll(handle func(net.Conn)) {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if !s.addConnection(conn) {
			_ = conn.Close()
			return
		}
		s.handlers.Go(func() {
			defer s.removeConnection(conn)
			handle(conn)
		})
	}
}

func (s *Server) addConnection(conn net.Conn) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.open == nil {
		return false
	}
	s.open[conn] = true
	return true
}

func (s *Server) removeConnection(conn net.Conn) {
	_ = conn.Close()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.open, conn)
}

// watched is a connection that reports the end of the connection.
type watched struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

// Close closes the connection, and tells so.
func (w *watched) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}

// single is a listener with a single connection, and ends with the connection.
type single struct {
	conn   net.Conn
	closed chan struct{}
}

// Accept returns the connection, and at the second call waits for its end.
func (l *single) Accept() (net.Conn, error) {
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

// Close has no effect: the connection ends without Close.
func (l *single) Close() error { return nil }

// Addr returns no address.
func (l *single) Addr() net.Addr { return &net.TCPAddr{} }
