// SPDX-License-Identifier: Apache-2.0

package options

import (
	"bytes"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// A client that speaks no TLS, or ends the handshake, causes no line in the log.
func TestRejectedConnectionsAreNotLogged(t *testing.T) {
	g := NewWithT(t)
	var out bytes.Buffer
	line := []byte("http: TLS handshake error from 192.0.2.1:1234: EOF\n")
	n, err := standardLog{NewLogger(zap.Options{DestWriter: &out}, time.Now)}.Write(line)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(n).To(Equal(len(line)))
	g.Expect(out.String()).To(BeEmpty())
}
