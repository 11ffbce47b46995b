package simulation

import (
	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/bucket"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/computeenvironment"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/instanceprofile"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/instancerole"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/internetgateway"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/jobqueue"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/jobrole"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/launchtemplate"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/probe"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/routetable"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/securitygroup"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/servicelinkedrole"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/subnet"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/vpc"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/vpcendpoint"
)

// Kinds is the list of internal/kind/all, in the same order, on fakes. A test compares the two, so that a new kind cannot be left out of the worlds.
func Kinds(w *awsfake.World) kind.Registry {
	return kind.Registry{
		bucket.New(w.S3),
		jobrole.New(w.IAM),
		instancerole.New(w.IAM),
		instanceprofile.New(w.IAM),
		servicelinkedrole.New(w.IAM),
		vpc.New(w.EC2),
		internetgateway.New(w.EC2),
		routetable.New(w.EC2),
		subnet.New(w.EC2),
		vpcendpoint.New(w.EC2),
		securitygroup.New(w.EC2),
		launchtemplate.New(w.EC2),
		computeenvironment.New(w.Batch, w.EC2),
		jobqueue.New(w.Batch),
		probe.New(w.Batch),
	}
}
