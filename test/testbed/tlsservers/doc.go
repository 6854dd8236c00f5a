// SPDX-License-Identifier: Apache-2.0

// Package tlsservers starts servers on loopback, which look like components of a control
// plane with a single deliberate fault, and issues the servers' certificates. Tests of the
// TLS posture run on such servers beside the real components of package testbed.
//
//	authority, err := tlsservers.NewAuthority("cluster CA")
//	server, err := tlsservers.StartFaulty("127.0.0.1:0", authority, tlsservers.OldVersion)
//	defer server.Close()
package tlsservers
