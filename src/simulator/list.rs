//! Lists of instances: filters, order, pages.

use std::sync::Arc;

use super::catalogue;
use super::instance::View;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum OrderBy {
    #[default]
    Id,
    /// And by the end of what is paid: all is paid for equally long.
    Created,
    Project,
    Name,
    Type,
}

/// Which instances are listed, and in which order. An empty list of ids is no filter.
#[derive(Debug, Default)]
pub(super) struct Query {
    /// Of these at most.
    pub ids: Vec<String>,
    pub name: Option<String>,
    pub projects: Vec<u64>,
    pub vpcs: Vec<u64>,
    pub subnets: Vec<u64>,
    pub order: OrderBy,
    pub descending: bool,
    pub offset: usize,
    pub limit: usize,
}

impl Query {
    fn matches(&self, view: &View<'_>) -> bool {
        let instance = view.instance;
        let wanted = |ids: &[u64], id: u64| ids.is_empty() || ids.contains(&id);
        // One translation of 260/1384: without vpcIds only the basic network is listed. Asked by name, it is found.
        let vpc = if self.vpcs.is_empty() { instance.vpc_id == 0 } else { self.vpcs.contains(&instance.vpc_id) };
        (vpc || !self.ids.is_empty())
            && self.name.as_ref().is_none_or(|name| *name == instance.name)
            && wanted(&self.projects, instance.project_id)
            && wanted(&self.subnets, instance.subnet_id)
    }

    fn has_filter(&self) -> bool {
        self.name.is_some() || !(self.projects.is_empty() && self.vpcs.is_empty() && self.subnets.is_empty())
    }

    /// How many match, and the page of them that was asked for.
    pub fn page<'a>(&self, all: impl Iterator<Item = View<'a>>) -> (usize, Vec<View<'a>>) {
        let mut all: Vec<_> = all.filter(|view| self.matches(view)).collect();
        match self.order {
            OrderBy::Id => all.sort_by_key(|view| &view.instance.redis_id),
            OrderBy::Created => all.sort_by_key(|view| view.instance.created),
            OrderBy::Project => all.sort_by_key(|view| view.instance.project_id),
            OrderBy::Name => all.sort_by_key(|view| &view.instance.name),
            OrderBy::Type => all.sort_by_key(|view| catalogue::product_type(view.instance.type_id)),
        }
        if self.descending {
            all.reverse();
        }
        (all.len(), all.into_iter().skip(self.offset).take(self.limit).collect())
    }
}

/// One account's instances in one region: ids in the orders that lists are asked for in.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    by_id: Vec<Arc<str>>,
    by_age: Vec<Arc<str>>,
    in_vpcs: usize,
}

impl Shelf {
    pub fn add(&mut self, id: &Arc<str>, vpc_id: u64) {
        self.by_age.push(id.clone());
        self.by_id.insert(self.by_id.partition_point(|other| other < id), id.clone());
        self.in_vpcs += usize::from(vpc_id != 0);
    }

    pub fn remove(&mut self, id: &str, vpc_id: u64) {
        self.by_id.retain(|other| **other != *id);
        self.by_age.retain(|other| **other != *id);
        self.in_vpcs -= usize::from(vpc_id != 0);
    }

    /// How many match, and the page of them that was asked for. `all_show`: `view` leaves none out.
    pub fn page<'a>(
        &self,
        query: &Query,
        all_show: bool,
        view: impl Fn(&Arc<str>) -> Option<View<'a>>,
    ) -> (usize, Vec<View<'a>>) {
        let ids = if query.order == OrderBy::Created { &self.by_age } else { &self.by_id };
        // Almost every list is of this kind: then only its page is looked at, however many instances there are.
        let kept = matches!(query.order, OrderBy::Id | OrderBy::Created);
        if self.in_vpcs == 0 && all_show && !query.has_filter() && kept {
            let page = |ids: &mut dyn Iterator<Item = &Arc<str>>| ids.take(query.limit).filter_map(&view).collect();
            let page = match query.descending {
                true => page(&mut ids.iter().rev().skip(query.offset)),
                false => page(&mut ids.iter().skip(query.offset)),
            };
            return (ids.len(), page);
        }
        query.page(ids.iter().filter_map(view))
    }
}
