// SPDX-License-Identifier: Apache-2.0

// Package etcdsnapshot takes a snapshot of etcd, verifies the snapshot, prunes older
// snapshots, and stamps a Lease with the time of the snapshot. [Taker.Take] does all of
// these steps, and [VerifyFile] verifies an existing file.
//
// A file with the name of a snapshot has been verified. An unfinished file has another
// name, and after an interrupted run the next run removes the unfinished file.
package etcdsnapshot
