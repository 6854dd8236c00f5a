// SPDX-License-Identifier: Apache-2.0

// Package testbed starts a real Kubernetes control plane on loopback, and
// stops it without leaving anything behind: etcd and the API server by
// controller-runtime's envtest and, when asked for, the controller-manager,
// the scheduler and kwok, which plays the kubelet of every node annotated
// kwok.x-k8s.io/node=fake.
//
// Nothing in it needs a *testing.T, so that the tests and the demo run on the
// same thing; [Run] is for a TestMain.
//
//	func TestMain(m *testing.M) {
//		os.Exit(testbed.Run(m, testbed.Options{CRDPaths: []string{"../../config/crd/bases"}}, &cp))
//	}
//
// The programs are those of `make testbed`, which end by themselves when the
// process that started them is gone, however it went.
package testbed
