package awsfake

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

type template struct {
	born

	id, name string
	versions []*types.ResponseLaunchTemplateData
	standard int64 // the default version's number
	tags     map[string]string
}

// CreateLaunchTemplate takes a client token, and a name of 3 to 128 characters that the Region does not have. API reference, CreateLaunchTemplate.
func (e *EC2) CreateLaunchTemplate(ctx context.Context, in *ec2.CreateLaunchTemplateInput, _ ...func(*ec2.Options)) (*ec2.CreateLaunchTemplateOutput, error) {
	return do(ctx, e.w, "ec2", "CreateLaunchTemplate", in, func() (*ec2.CreateLaunchTemplateOutput, error) {
		return once(e, in.ClientToken, in, func() (*ec2.CreateLaunchTemplateOutput, error) {
			name := aws.ToString(in.LaunchTemplateName)
			if len(name) < 3 || len(name) > 128 || !spelled(name, "().-/_") {
				return nil, refuse("InvalidLaunchTemplateName.MalformedException", "A launch template name must be between 3 and 128 characters")
			}

			for _, t := range e.templates {
				if t.name == name {
					return nil, refuse("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
				}
			}

			data, err := shown(in.LaunchTemplateData)
			if err != nil {
				return nil, err
			}

			t := &template{
				born: e.now(), id: e.w.id("lt"), name: name, versions: []*types.ResponseLaunchTemplateData{data}, standard: 1,
				tags: tagSpec(in.TagSpecifications, types.ResourceTypeLaunchTemplate),
			}
			e.templates[t.id] = t

			return &ec2.CreateLaunchTemplateOutput{LaunchTemplate: describeTemplate(t)}, nil
		})
	})
}

// shown turns what a request says into what an answer shows: the members bear the same names.
func shown(in *types.RequestLaunchTemplateData) (*types.ResponseLaunchTemplateData, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode launch template data: %w", err)
	}

	out := &types.ResponseLaunchTemplateData{}
	if err := json.Unmarshal(b, out); err != nil {
		return nil, fmt.Errorf("decode launch template data: %w", err)
	}

	return out, nil
}

func describeTemplate(t *template) *types.LaunchTemplate {
	return &types.LaunchTemplate{
		LaunchTemplateId: aws.String(t.id), LaunchTemplateName: aws.String(t.name), Tags: ec2Tags(t.tags),
		DefaultVersionNumber: aws.Int64(t.standard), LatestVersionNumber: aws.Int64(int64(len(t.versions))),
	}
}

// DescribeLaunchTemplates answers NotFound for a name or id that is not there. API reference, DescribeLaunchTemplates; the irregular codes stand in the
// EC2 user guide's list of error codes.
func (e *EC2) DescribeLaunchTemplates(ctx context.Context, in *ec2.DescribeLaunchTemplatesInput, _ ...func(*ec2.Options)) (*ec2.DescribeLaunchTemplatesOutput, error) {
	return do(ctx, e.w, "ec2", "DescribeLaunchTemplates", in, func() (*ec2.DescribeLaunchTemplatesOutput, error) {
		out := &ec2.DescribeLaunchTemplatesOutput{}
		found := map[string]bool{}

		for _, t := range tagged(e.templates, in.Filters) {
			ok, err := selected(in.Filters, t.tags, map[string][]string{"launch-template-name": {t.name}})
			if err != nil {
				return nil, err
			}

			named := len(in.LaunchTemplateNames) == 0 || slices.Contains(in.LaunchTemplateNames, t.name)
			listed := len(in.LaunchTemplateIds) == 0 || slices.Contains(in.LaunchTemplateIds, t.id)

			if ok && named && listed && e.visible(t.at) {
				found[t.name], found[t.id] = true, true
				out.LaunchTemplates = append(out.LaunchTemplates, *describeTemplate(t))
			}
		}

		for _, name := range in.LaunchTemplateNames {
			if !found[name] {
				return nil, refuse("InvalidLaunchTemplateName.NotFoundException", "At least one of the launch templates specified in the request does not exist.")
			}
		}

		for _, id := range in.LaunchTemplateIds {
			if !found[id] {
				return nil, noTemplate(&id)
			}
		}

		return out, nil
	})
}

func noTemplate(id *string) error {
	return refuse("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID %s, does not exist.", aws.ToString(id))
}

// CreateLaunchTemplateVersion takes a client token and leaves the default version as it is. API reference, CreateLaunchTemplateVersion.
func (e *EC2) CreateLaunchTemplateVersion(ctx context.Context, in *ec2.CreateLaunchTemplateVersionInput, _ ...func(*ec2.Options)) (*ec2.CreateLaunchTemplateVersionOutput, error) {
	return do(ctx, e.w, "ec2", "CreateLaunchTemplateVersion", in, func() (*ec2.CreateLaunchTemplateVersionOutput, error) {
		return once(e, in.ClientToken, in, func() (*ec2.CreateLaunchTemplateVersionOutput, error) {
			t, ok := known(e, e.templates, in.LaunchTemplateId)
			if !ok {
				return nil, noTemplate(in.LaunchTemplateId)
			}

			data, err := shown(in.LaunchTemplateData)
			if err != nil {
				return nil, err
			}

			t.versions = append(t.versions, data)

			return &ec2.CreateLaunchTemplateVersionOutput{LaunchTemplateVersion: describeVersion(t, len(t.versions))}, nil
		})
	})
}

func describeVersion(t *template, number int) *types.LaunchTemplateVersion {
	return &types.LaunchTemplateVersion{
		LaunchTemplateId: aws.String(t.id), LaunchTemplateName: aws.String(t.name), VersionNumber: aws.Int64(int64(number)),
		DefaultVersion: aws.Bool(int64(number) == t.standard), LaunchTemplateData: t.versions[number-1],
	}
}

// DescribeLaunchTemplateVersions knows $Latest and $Default; a version that is both is listed once. API reference, DescribeLaunchTemplateVersions.
func (e *EC2) DescribeLaunchTemplateVersions(ctx context.Context, in *ec2.DescribeLaunchTemplateVersionsInput, _ ...func(*ec2.Options)) (*ec2.DescribeLaunchTemplateVersionsOutput, error) {
	return do(ctx, e.w, "ec2", "DescribeLaunchTemplateVersions", in, func() (*ec2.DescribeLaunchTemplateVersionsOutput, error) {
		t, ok := known(e, e.templates, in.LaunchTemplateId)
		if !ok {
			return nil, noTemplate(in.LaunchTemplateId)
		}

		out := &ec2.DescribeLaunchTemplateVersionsOutput{}

		for number := len(t.versions); number > 0; number-- {
			wanted := len(in.Versions) == 0 || slices.Contains(in.Versions, strconv.Itoa(number)) ||
				slices.Contains(in.Versions, "$Latest") && number == len(t.versions) ||
				slices.Contains(in.Versions, "$Default") && int64(number) == t.standard

			if wanted {
				out.LaunchTemplateVersions = append(out.LaunchTemplateVersions, *describeVersion(t, number))
			}
		}

		return out, nil
	})
}

// ModifyLaunchTemplate sets the default version. API reference, ModifyLaunchTemplate.
func (e *EC2) ModifyLaunchTemplate(ctx context.Context, in *ec2.ModifyLaunchTemplateInput, _ ...func(*ec2.Options)) (*ec2.ModifyLaunchTemplateOutput, error) {
	return do(ctx, e.w, "ec2", "ModifyLaunchTemplate", in, func() (*ec2.ModifyLaunchTemplateOutput, error) {
		t, ok := known(e, e.templates, in.LaunchTemplateId)
		if !ok {
			return nil, noTemplate(in.LaunchTemplateId)
		}

		number, err := strconv.Atoi(aws.ToString(in.DefaultVersion))
		if err != nil || number < 1 || number > len(t.versions) {
			return nil, refuse("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version %s for the launch template with ID %s.",
				aws.ToString(in.DefaultVersion), t.id)
		}

		t.standard = int64(number)

		return &ec2.ModifyLaunchTemplateOutput{LaunchTemplate: describeTemplate(t)}, nil
	})
}

// DeleteLaunchTemplate takes all versions along. API reference, DeleteLaunchTemplate.
func (e *EC2) DeleteLaunchTemplate(ctx context.Context, in *ec2.DeleteLaunchTemplateInput, _ ...func(*ec2.Options)) (*ec2.DeleteLaunchTemplateOutput, error) {
	return do(ctx, e.w, "ec2", "DeleteLaunchTemplate", in, func() (*ec2.DeleteLaunchTemplateOutput, error) {
		t, ok := known(e, e.templates, in.LaunchTemplateId)
		if !ok {
			return nil, noTemplate(in.LaunchTemplateId)
		}

		delete(e.templates, t.id)

		return &ec2.DeleteLaunchTemplateOutput{LaunchTemplate: describeTemplate(t)}, nil
	})
}
