// SPDX-License-Identifier: Apache-2.0

// Package testbed starts a real Kubernetes control plane on loopback, and stops the control
// plane without leaving any file or program: etcd and the API server by
// controller-runtime's envtest and, where asked for, the controller-manager, the scheduler
// and kwok, the kubelet of every node annotated kwok.x-k8s.io/node=fake.
//
// The package does not need a *testing.T, so the tests and the demo run on the same control
// plane; [Run] is for a TestMain.
//
//	func TestMain(m *testing.M) {
//		os.Exit(testbed.Run(m, testbed.Options{CRDPaths: []string{"../../config/crd/bases"}}, &cp))
//	}
//
// `make testbed` builds the programs. Every program ends once the starting process is gone,
// even if the process was killed.
package testbed
