use wire::{
    ResponseError,
    messages::{DeleteGroupsRequest, DeleteGroupsResponse, delete_groups_response::DeletableGroupResult},
};

use super::many_groups::ManyGroups;

impl ManyGroups for DeleteGroupsRequest {
    type Answered = DeletableGroupResult;

    fn groups(&self) -> Vec<String> {
        self.groups_names.iter().map(|group| group.to_string()).collect()
    }

    fn about(&self, places: &[usize]) -> Self {
        self.clone().with_groups_names(places.iter().map(|place| self.groups_names[*place].clone()).collect())
    }

    fn answers(response: DeleteGroupsResponse) -> Vec<DeletableGroupResult> {
        response.results
    }

    fn group_of(answered: &DeletableGroupResult) -> &str {
        &answered.group_id
    }

    fn refused(&self, place: usize, code: ResponseError) -> DeletableGroupResult {
        DeletableGroupResult::default()
            .with_group_id(self.groups_names[place].clone())
            .with_error_code(code.code())
    }

    fn response(answers: Vec<DeletableGroupResult>) -> DeleteGroupsResponse {
        DeleteGroupsResponse::default().with_results(answers)
    }
}
