use wire::{
    ResponseError,
    messages::{DescribeGroupsRequest, DescribeGroupsResponse, describe_groups_response::DescribedGroup},
};

use super::many_groups::ManyGroups;

impl ManyGroups for DescribeGroupsRequest {
    type Answered = DescribedGroup;

    fn groups(&self) -> Vec<String> {
        self.groups.iter().map(|group| group.to_string()).collect()
    }

    fn about(&self, places: &[usize]) -> Self {
        self.clone().with_groups(places.iter().map(|place| self.groups[*place].clone()).collect())
    }

    fn answers(response: DescribeGroupsResponse) -> Vec<DescribedGroup> {
        response.groups
    }

    fn group_of(answered: &DescribedGroup) -> &str {
        &answered.group_id
    }

    fn refused(&self, place: usize, code: ResponseError) -> DescribedGroup {
        DescribedGroup::default().with_group_id(self.groups[place].clone()).with_error_code(code.code())
    }

    fn response(answers: Vec<DescribedGroup>) -> DescribeGroupsResponse {
        DescribeGroupsResponse::default().with_groups(answers)
    }
}
