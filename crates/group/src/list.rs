use wire::{
    ResponseError,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribeGroupsRequest,
        DescribeGroupsResponse, GroupId, ListGroupsRequest, ListGroupsResponse,
        consumer_group_describe_response, describe_groups_response, list_groups_response::ListedGroup,
    },
};

use crate::{
    Groups, Topics,
    classic::CONSUMER,
    group::{Group, Kept},
    text::wire,
};

/// From this version on a group that is not there is an error, not a dead group (KIP-1043).
const NOT_FOUND_VERSION: i16 = 6;

impl Group {
    fn type_name(&self) -> &'static str {
        match self.kept {
            Kept::Consumer(_) => "consumer",
            Kept::Nothing | Kept::Classic(_) => "classic",
        }
    }

    fn protocol_type(&self) -> &str {
        match self.kept {
            Kept::Consumer(_) => CONSUMER,
            Kept::Nothing | Kept::Classic(_) => self.classic.protocol_type.as_deref().unwrap_or_default(),
        }
    }
}

impl Groups {
    pub(crate) fn list(&self, request: &ListGroupsRequest) -> ListGroupsResponse {
        let passes = |filter: &[wire::StrBytes], value: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
        };
        let listed = self.groups.iter().filter(|(_, group)| {
            !group.is_nothing()
                && passes(&request.states_filter, group.state())
                && passes(&request.types_filter, group.type_name())
        });
        let groups = listed.map(|(id, group)| {
            ListedGroup::default()
                .with_group_id(wire(id).into())
                .with_protocol_type(wire(group.protocol_type()))
                .with_group_state(group.state().into())
                .with_group_type(group.type_name().into())
        });
        ListGroupsResponse::default().with_groups(groups.collect())
    }

    pub(crate) fn describe(&self, request: &DescribeGroupsRequest, version: i16) -> DescribeGroupsResponse {
        let groups = request.groups.iter().map(|id| self.describe_one(id, version).with_group_id(id.clone()));
        DescribeGroupsResponse::default().with_groups(groups.collect())
    }

    fn describe_one(&self, id: &GroupId, version: i16) -> describe_groups_response::DescribedGroup {
        let group = self.found(id);
        let why = match group {
            Some(Group { kept: Kept::Consumer(_), .. }) => "is not a classic group",
            Some(group) => return group.classic.describe(),
            None => "not found",
        };
        let dead = describe_groups_response::DescribedGroup::default().with_group_state("Dead".into());
        match version {
            NOT_FOUND_VERSION.. => dead
                .with_error_code(ResponseError::GroupIdNotFound.code())
                .with_error_message(Some(format!("Group {} {why}.", id.as_str()).into())),
            _ => dead,
        }
    }

    pub(crate) fn consumer_describe(
        &self,
        request: &ConsumerGroupDescribeRequest,
        topics: &dyn Topics,
    ) -> ConsumerGroupDescribeResponse {
        let describe = |id: &GroupId| {
            let group = self.found(id);
            let described = match group {
                Some(Group { kept: Kept::Consumer(group), .. }) => group.describe(topics),
                Some(_) => consumer_not_found(id, "is not a consumer group"),
                None => consumer_not_found(id, "not found"),
            };
            described.with_group_id(id.clone())
        };
        let groups = request.group_ids.iter().map(describe).collect();
        ConsumerGroupDescribeResponse::default().with_groups(groups)
    }
}

fn consumer_not_found(id: &GroupId, why: &str) -> consumer_group_describe_response::DescribedGroup {
    consumer_group_describe_response::DescribedGroup::default()
        .with_error_code(ResponseError::GroupIdNotFound.code())
        .with_error_message(Some(format!("Group {} {why}.", id.as_str()).into()))
}
